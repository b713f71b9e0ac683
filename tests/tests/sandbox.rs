//! The sandbox as a program, and its simulators before judges that know nothing of us.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use pairwise_sandbox::{Options, Sandbox};
use pairwise_tests::judges::{is_satisfied, judge, node, script};
use serde_json::{Value, json};

#[test]
fn the_first_line_tells_programs_where_everything_is() {
    let mut program = Command::new(pairwise_tests::program())
        .args(["sandbox", "--systems", "infor-crm", "--contacts", "5", "--seed", "7"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let place: Value = serde_json::from_str(&line).unwrap();
    let control = place["control_url"].as_str().unwrap();
    let mut answer = ureq::get(format!("{control}/control/systems")).call().unwrap();
    let systems: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(systems, place["systems"]);
    let (name, login) = (&systems[0]["name"], &systems[0]["logins"][0]);
    assert_eq!(
        (name, &login["user"], &login["secrets"]["password"]),
        (&json!("infor-crm"), &json!("lee"), &json!("lee-secret"))
    );
    program.kill().unwrap();
    program.wait().unwrap();
}

#[test]
fn an_unknown_system_is_named() {
    let refused = Command::new(pairwise_tests::program()).args(["sandbox", "--systems", "moon"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("there is no system `moon`") && said.contains("infor-crm"), "{said}");
}

fn crm() -> Sandbox {
    Sandbox::start(Options { systems: vec!["infor-crm".into()], contacts: 30, ..Options::default() }).unwrap()
}

/// Runs a judge on a simulator, as its first user.
fn satisfies(mut program: Command, sandbox: &Sandbox, system: &str) {
    let info = sandbox.info(system);
    let login = &info.logins[0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    is_satisfied(program.args([&info.url, &login.user, &text(&login.secrets["password"])]));
}

#[test]
fn requests_logs_in_to_infor_crm() {
    let Some(python) = judge("python") else { return };
    let mut program = Command::new(python);
    program.arg(script("infor_crm.py"));
    satisfies(program, &crm(), "infor-crm");
}

#[test]
fn sdata_client_works_with_infor_crm() {
    let Some((node, modules)) = node("sdata-client") else { return };
    let sandbox = crm();
    sandbox.command("infor-crm", "settings", &json!({ "if_match": "optional" })).unwrap();
    let mut program = Command::new(node);
    program.env("NODE_PATH", modules).env("NODE_NO_WARNINGS", "1").arg(script("infor_crm.js"));
    satisfies(program, &sandbox, "infor-crm");
}

#[test]
fn msal_and_o365_work_with_outlook() {
    satisfies_with_a_mailbox("outlook.py");
}

#[test]
fn the_vendors_own_sdk_works_with_outlook() {
    satisfies_with_a_mailbox("graph.py");
}

/// Runs a judge on the mailbox of the simulator's first user.
fn satisfies_with_a_mailbox(name: &str) {
    let Some(python) = judge("python") else { return };
    let spread = pairwise_sandbox::population::Spread::Mailbox;
    let options = Options { systems: vec!["outlook".into()], contacts: 30, spread, ..Options::default() };
    let sandbox = Sandbox::start(options).unwrap();
    let info = sandbox.info("outlook");
    let login = &info.logins[0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut program = Command::new(python);
    program.arg(script(name)).args([&info.url, &login.user, &text(&login.settings["client_id"])]);
    program.args([&text(&login.secrets["client_secret"]), sandbox.control_url()]).env("NO_PROXY", "127.0.0.1");
    is_satisfied(&mut program);
}
