//! Secrets that the host keeps itself: logins that a person typed, and tokens that a system renews at login. One file each, in
//! the state folder beside the database, never in it.
//!
//! They are sealed by rights alone: files and folders are this user's only, and one that others may read is refused, as `ssh`
//! refuses such a key. They are not encrypted. The host works unattended, so that the key would have to lie beside them and be
//! guarded by the same rights; where more is wanted, the disk is encrypted, or a secret comes from a secret manager by
//! `{ command = […] }`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use pairwise_plugin_api::Principal;
use secrecy::{ExposeSecret, SecretString};

/// The folder of kept secrets.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
}

impl Kept {
    /// In this state folder.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Kept { folder: state_dir.join("kept") }
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A secret, if it is kept.
    ///
    /// # Errors
    /// If the file is there and cannot be read, or others may read it, too.
    pub fn get(&self, connection: &str, principal: &Principal, name: &str) -> io::Result<Option<SecretString>> {
        let path = self.file(connection, principal, name);
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            if file.metadata()?.permissions().mode() & 0o077 != 0 {
                let path = path.display();
                let text = format!("others may read {path}: `chmod 600` it, and change the secret if they may have");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(Some(text.into()))
    }

    /// Keeps a secret, replacing the one before: an old token is worth nothing once a new one was handed out.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, connection: &str, principal: &Principal, name: &str, secret: &SecretString) -> io::Result<()> {
        let file = self.file(connection, principal, name);
        let folder = file.parent().unwrap_or(&self.folder);
        let mut builder = DirBuilder::new();
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
            builder.mode(0o700);
            options.mode(0o600);
        }
        builder.recursive(true).create(folder)?;
        let new = file.with_extension("new");
        // A left-over of a crash may have other rights.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut handle = options.open(&new)?;
        handle.write_all(secret.expose_secret().as_bytes())?;
        handle.sync_all()?;
        fs::rename(&new, &file)?;
        fs::File::open(folder)?.sync_all()
    }

    /// Forgets all secrets of a connection.
    ///
    /// # Errors
    /// If files cannot be removed.
    pub fn forget(&self, connection: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.folder.join(safe(connection))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn file(&self, connection: &str, principal: &Principal, name: &str) -> PathBuf {
        // A principal's folder starts with `@`, so that it is never another principal's or the connection's own.
        self.folder.join(safe(connection)).join(format!("@{}", safe(&principal.0))).join(safe(name))
    }
}

/// A file name that stands for exactly this text: letters, digits and `-` as they are, all else as `%` and hex.
fn safe(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        byte => format!("%{byte:02x}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_apart_for_this_user_only_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path());
        let (lee, nobody) = (Principal("lee@example.com".into()), Principal::connection());
        let get =
            |principal| kept.get("crm", principal, "token").unwrap().map(|secret| secret.expose_secret().to_owned());
        assert_eq!(get(&lee), None);
        kept.put("crm", &lee, "token", &"one".to_owned().into()).unwrap();
        kept.put("crm", &lee, "token", &"two".to_owned().into()).unwrap();
        assert_eq!(get(&lee).as_deref(), Some("two"));
        assert_eq!(get(&nobody), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let file = kept.file("crm", &lee, "token");
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
            let refused = kept.get("crm", &lee, "token").unwrap_err().to_string();
            assert!(refused.contains("others may read") && refused.contains("chmod 600"), "{refused}");
        }
        kept.forget("crm").unwrap();
        kept.forget("crm").unwrap();
        assert_eq!(get(&lee), None);
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        assert_eq!(safe("../a b"), "%2e%2e%2fa%20b");
    }
}
