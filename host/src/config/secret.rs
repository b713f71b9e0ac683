//! Secrets: where they are, and how they are read. They are read only when a session logs in, and held in a type that cannot
//! be printed.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use pairwise_plugin_api::Principal;
use secrecy::SecretString;

use super::kept::Kept;
use super::raw::Secret;

/// A command that prints a secret must be done by then; it may have to ask a key agent.
const COMMAND_TIME: Duration = Duration::from_secs(30);
/// No secret is longer.
const LONGEST: u64 = 64 * 1024;

/// A secret that cannot be had. Says which and where, never what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{owner}: no secret `{name}`: {reason}; {remedy}")]
pub struct SecretError {
    /// The connection, and the person if it is one's own.
    pub owner: String,
    /// The secret's name.
    pub name: String,
    /// The place looked at, and what was found.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

/// Reads secrets.
#[derive(Debug, Clone)]
pub struct Vault {
    folder: PathBuf,
    kept: Kept,
}

impl Vault {
    /// For a configuration folder and its state folder.
    #[must_use]
    pub fn new(folder: &Path, state_dir: &Path) -> Self {
        Vault { folder: folder.into(), kept: Kept::new(state_dir) }
    }

    /// The host's own files.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Reads all secrets of a login.
    ///
    /// # Errors
    /// Every secret that cannot be had.
    pub fn open(
        &self,
        connection: &str,
        principal: &Principal,
        secrets: &BTreeMap<String, Secret>,
    ) -> Result<BTreeMap<String, SecretString>, Vec<SecretError>> {
        let owner = Owner { connection, principal };
        let mut opened = BTreeMap::new();
        let mut errors = Vec::new();
        for (name, place) in secrets {
            match self.read(&owner, name, place) {
                Ok(secret) => {
                    opened.insert(name.clone(), secret);
                }
                Err((reason, remedy)) => {
                    errors.push(SecretError { owner: owner.to_string(), name: name.clone(), reason, remedy });
                }
            }
        }
        if errors.is_empty() { Ok(opened) } else { Err(errors) }
    }

    fn read(&self, owner: &Owner<'_>, name: &str, place: &Secret) -> Result<SecretString, (String, String)> {
        match place {
            Secret::Env(variable) => match std::env::var(variable) {
                Ok(value) if !value.is_empty() => Ok(value.into()),
                Ok(_) => Err((
                    format!("the environment variable `{variable}` is empty"),
                    format!("set `{variable}` before pairwise starts"),
                )),
                Err(std::env::VarError::NotPresent) => Err((
                    format!("the environment variable `{variable}` is not set"),
                    format!("set `{variable}` before pairwise starts"),
                )),
                Err(std::env::VarError::NotUnicode(_)) => Err((
                    format!("the environment variable `{variable}` is not UTF-8"),
                    "put the secret into a file instead: { file = \"…\" }".into(),
                )),
            },
            Secret::File(path) => {
                let path = self.folder.join(path);
                let read = std::fs::File::open(&path).and_then(|file| {
                    let mut text = String::new();
                    file.take(LONGEST).read_to_string(&mut text).map(|_| text)
                });
                let remedy = format!("put the secret into {}, readable by this user only", path.display());
                match read {
                    Ok(text) => line(&text).ok_or_else(|| (format!("the file {} is empty", path.display()), remedy)),
                    Err(error) => Err((format!("the file {} cannot be read: {error}", path.display()), remedy)),
                }
            }
            Secret::Command(command) => self.run(command),
            Secret::Kept(_) => match self.kept.get(owner.connection, owner.principal, name) {
                Ok(Some(secret)) => Ok(secret),
                Ok(None) => Err((
                    format!("nothing is kept under {}", self.kept.folder().display()),
                    format!("`pairwise connection login {}` puts it there", owner.typed()),
                )),
                Err(error) => Err((error.to_string(), "check the folder's owner and rights".into())),
            },
        }
    }

    fn run(&self, command: &[String]) -> Result<SecretString, (String, String)> {
        let shown = command.first().map(String::as_str).unwrap_or_default();
        let fail = |reason: String| {
            (
                format!("the command `{shown}` {reason}"),
                "run it by hand in the configuration folder: it must print the secret and nothing else".into(),
            )
        };
        let (program, arguments) = command.split_first().ok_or_else(|| fail("is empty".into()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // What it complains about may hold the secret; the person who runs it by hand sees it.
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| fail(format!("cannot be started: {error}")))?;
        let mut output = child.stdout.take().ok_or_else(|| fail("has no output".into()))?.take(LONGEST);
        let (done, printed) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let read = output.read_to_string(&mut text).map(|_| text);
            // The other end is gone if time was up: then nobody wants it.
            drop(done.send(read));
        });
        let read = printed.recv_timeout(COMMAND_TIME);
        if read.is_err() {
            // Already gone is as good as killed.
            drop(child.kill());
        }
        let status = child.wait().map_err(|error| fail(format!("cannot be waited for: {error}")))?;
        let text = read.map_err(|_| fail(format!("was not done after {} s", COMMAND_TIME.as_secs())))?;
        drop(reader.join());
        if !status.success() {
            return Err(fail(format!("failed: {status}")));
        }
        let text = text.map_err(|error| fail(format!("did not print text: {error}")))?;
        line(&text).ok_or_else(|| fail("printed nothing".into()))
    }
}

/// Whose secret it is.
struct Owner<'a> {
    connection: &'a str,
    principal: &'a Principal,
}

impl Owner<'_> {
    /// As arguments of a command.
    fn typed(&self) -> String {
        match self.principal.0.as_str() {
            "" => self.connection.to_owned(),
            user => format!("{} --user {user}", self.connection),
        }
    }
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection `{}`", self.connection)?;
        if self.principal.is_connection() { Ok(()) } else { write!(f, ", user `{}`", self.principal.0) }
    }
}

/// Without the last line end; nothing if that is all.
fn line(text: &str) -> Option<SecretString> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    (!text.is_empty()).then(|| text.to_owned().into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn open(folder: &Path, place: Secret) -> Result<String, String> {
        let vault = Vault::new(folder, &folder.join("state"));
        let secrets = BTreeMap::from([("password".to_owned(), place)]);
        match vault.open("crm", &Principal("lee".into()), &secrets) {
            Ok(opened) => Ok(opened["password"].expose_secret().to_owned()),
            Err(errors) => Err(errors[0].to_string().replace(&folder.display().to_string(), "DIR")),
        }
    }

    #[test]
    fn secrets_come_from_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("crm.secret"), "from file\n").unwrap();
        assert_eq!(open(folder.path(), Secret::File("crm.secret".into())).unwrap(), "from file");
        let command = ["sh", "-c", "cat crm.secret"].map(str::to_owned).to_vec();
        assert_eq!(open(folder.path(), Secret::Command(command)).unwrap(), "from file");
        assert_eq!(open(folder.path(), Secret::Env("PATH".into())).unwrap(), std::env::var("PATH").unwrap());
        let kept = Kept::new(&folder.path().join("state"));
        kept.put("crm", &Principal("lee".into()), "password", &"kept one".to_owned().into()).unwrap();
        assert_eq!(open(folder.path(), Secret::Kept(true)).unwrap(), "kept one");
    }

    #[test]
    fn a_missing_secret_is_named_with_its_place_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let error = |place| open(folder.path(), place).unwrap_err();
        assert_eq!(
            error(Secret::Env("PAIRWISE_NO_SUCH".into())),
            "connection `crm`, user `lee`: no secret `password`: the environment variable `PAIRWISE_NO_SUCH` is not set; \
             set `PAIRWISE_NO_SUCH` before pairwise starts"
        );
        assert_eq!(
            error(Secret::File("none".into())),
            "connection `crm`, user `lee`: no secret `password`: the file DIR/none cannot be read: No such file or directory \
             (os error 2); put the secret into DIR/none, readable by this user only"
        );
        assert_eq!(
            error(Secret::Command(vec!["false".into()])),
            "connection `crm`, user `lee`: no secret `password`: the command `false` failed: exit status: 1; run it by hand in \
             the configuration folder: it must print the secret and nothing else"
        );
        assert!(
            error(Secret::Kept(true)).contains("`pairwise connection login crm --user lee` puts it there"),
            "{}",
            error(Secret::Kept(true))
        );
    }

    #[test]
    fn an_opened_secret_cannot_be_printed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("s"), "hunter2").unwrap();
        let vault = Vault::new(folder.path(), folder.path());
        let secrets = BTreeMap::from([("password".to_owned(), Secret::File("s".into()))]);
        let opened = vault.open("crm", &Principal::connection(), &secrets).unwrap();
        assert!(!format!("{opened:?}").contains("hunter2"));
    }
}
