//! Simulated systems in a process of their own, as real ones are, and a configuration folder that connects to them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use pairwise_sandbox::SystemInfo;
use pairwise_sandbox::journal::Entry;
use pairwise_sandbox::system::Edit;
use serde_json::{Value, json};

use crate::office;
use crate::world::World;

/// Two systems that run until this is dropped, whatever happens to whoever works with them.
#[derive(Debug)]
pub struct Apart {
    /// The configuration folder.
    pub world: World,
    program: Child,
    control: String,
}

impl Apart {
    /// Starts two systems with people from a seed, and pairs them by a preset as [`office::Office::pair`] does.
    ///
    /// # Panics
    /// If they do not start.
    #[must_use]
    pub fn start(systems: [&str; 2], contacts: u32, seed: u64, preset: &str, grants: &[&str], more: &str) -> Apart {
        let mut program = Command::new(crate::program())
            .args(["sandbox", "--systems", &systems.join(","), "--users", "2"])
            .args(["--contacts", &contacts.to_string(), "--seed", &seed.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let mut out = BufReader::new(program.stdout.take().expect("a pipe"));
        out.read_line(&mut line).expect("the first line");
        let place: Value = serde_json::from_str(&line).expect("the first line is JSON");
        let told: Vec<SystemInfo> = serde_json::from_value(place["systems"].clone()).expect("systems");
        let world = World::empty();
        office::connect(&world, &told);
        let info = |name: &str| told.iter().find(|system| system.name == name).expect("it was started");
        office::pair(&world, preset, systems.map(info), grants, more);
        Apart { world, program, control: place["control_url"].as_str().expect("an address").to_owned() }
    }

    /// What a system holds.
    #[must_use]
    pub fn records(&self, system: &str, entity: &str) -> Vec<Value> {
        let records = self.get(&format!("{system}/records?entity={entity}"));
        records.as_array().expect("a list of records").clone()
    }

    /// The requests that a system got after this number.
    #[must_use]
    pub fn requests(&self, system: &str, since: u64) -> Vec<Entry> {
        serde_json::from_value(self.get(&format!("{system}/requests?since={since}"))).expect("a journal")
    }

    /// A person edits a record, or makes one; its id.
    pub fn edit(&self, system: &str, edit: &Edit) -> String {
        let answer = self.post(&format!("{system}/records"), &json!(edit));
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// A person deletes a record.
    pub fn delete(&self, system: &str, user: &str, id: &str) {
        let url = format!("{}/control/{system}/records/{id}?user={user}", self.control);
        ureq::delete(url).call().expect("a deletion");
    }

    /// Lets time pass in all systems.
    pub fn advance(&self, seconds: u64) {
        self.post("clock", &json!({ "advance": seconds }));
    }

    fn get(&self, place: &str) -> Value {
        let mut answer = ureq::get(format!("{}/control/{place}", self.control)).call().expect("an answer");
        serde_json::from_reader(answer.body_mut().as_reader()).expect("JSON")
    }

    fn post(&self, place: &str, body: &Value) -> Value {
        let request =
            ureq::post(format!("{}/control/{place}", self.control)).header("content-type", "application/json");
        let mut answer = request.send(body.to_string()).expect("an answer");
        serde_json::from_reader(answer.body_mut().as_reader()).expect("JSON")
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
