//! Where the configuration folder is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file that makes a folder a configuration folder.
pub const HOST_FILE: &str = "pairwise.toml";

/// No configuration folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no configuration: there is no pairwise.toml in {}; {remedy}", list(.looked_at))]
pub struct NotFound {
    /// The places looked at.
    pub looked_at: Vec<String>,
    /// What to do.
    pub remedy: String,
}

/// The configuration folder: the one that was asked for, else `PAIRWISE_CONFIG`, else the working folder if it is one, else
/// `pairwise` in the user's configuration. What was asked for is never replaced by something else.
///
/// # Errors
/// If there is none. Says where it was looked for.
pub fn find(asked: Option<&Path>) -> Result<PathBuf, NotFound> {
    find_in(asked, &|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

fn find_in(asked: Option<&Path>, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, NotFound> {
    let config_home = || {
        let own = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        own.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config"))).map(|home| home.join("pairwise"))
    };
    let places: Vec<(PathBuf, &str)> = match (asked, variable("PAIRWISE_CONFIG")) {
        (Some(folder), _) => vec![(folder.into(), " (--config)")],
        (None, Some(folder)) => vec![(folder.into(), " (PAIRWISE_CONFIG)")],
        (None, None) => {
            let working = (PathBuf::from("."), " (the working folder)");
            [working].into_iter().chain(config_home().map(|folder| (folder, ""))).collect()
        }
    };
    if let Some((folder, _)) = places.iter().find(|(folder, _)| folder.join(HOST_FILE).is_file()) {
        return Ok(std::path::absolute(folder).unwrap_or_else(|_| folder.clone()));
    }
    let remedy = match places.as_slice() {
        [(folder, _)] if !folder.is_dir() => {
            "the folder does not exist: name another one, or start one there: `pairwise connection add`".into()
        }
        [_] => "name another folder, or start one there: `pairwise connection add`".into(),
        _ => "name the folder with --config, start one with `pairwise --config DIR connection add NAME --plugin ID`, or try \
              `pairwise demo --dir DIR`".into(),
    };
    let looked_at = places.iter().map(|(folder, why)| format!("{}{why}", folder.display())).collect();
    Err(NotFound { looked_at, remedy })
}

fn list(places: &[String]) -> String {
    places.join(" or ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    #[test]
    fn the_folder_asked_for_comes_first_and_is_never_replaced() {
        let home = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            let folder = home.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(HOST_FILE), "").unwrap();
            folder
        };
        let (one, two, three) = (made("one"), made("two"), made("xdg/pairwise"));
        let xdg = home.path().join("xdg").into_os_string();
        let variables = |name: &str| match name {
            "PAIRWISE_CONFIG" => Some(two.clone().into_os_string()),
            _ => None,
        };
        assert_eq!(find_in(Some(&one), &variables), Ok(one));
        assert_eq!(find_in(None, &variables), Ok(two.clone()));
        assert_eq!(find_in(None, &|name| (name == "XDG_CONFIG_HOME").then(|| xdg.clone())), Ok(three));
        let error = find_in(Some(Path::new("/nowhere")), &variables).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no configuration: there is no pairwise.toml in /nowhere (--config); the folder does not exist: \
             name another one, or start one there: `pairwise connection add`"
        );
        let error = find_in(None, &|name| (name == "HOME").then(|| "/nowhere".into())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no configuration: there is no pairwise.toml in . (the working folder) or /nowhere/.config/pairwise; \
             name the folder with --config, start one with `pairwise --config DIR connection add NAME --plugin ID`, or try \
             `pairwise demo --dir DIR`"
        );
    }
}
