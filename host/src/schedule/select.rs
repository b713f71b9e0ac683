//! The profiles and lanes that a command is about.

use crate::config::problem::{Problem, suggest};
use crate::config::{Config, Profile};
use crate::model::LaneSpec;

/// A profile, and those of its lanes that were asked for.
#[derive(Debug, Clone)]
pub struct Selected<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// At least one.
    pub lanes: Vec<&'a LaneSpec>,
}

/// The profiles with these names, in this order, or all that are enabled; of them the lanes of this user and this stream.
///
/// # Errors
/// A name that is not there, with the nearest one that is.
pub fn select<'a>(
    config: &'a Config,
    names: &[String],
    user: Option<&str>,
    stream: Option<&str>,
) -> Result<Vec<Selected<'a>>, Problem> {
    let mut profiles: Vec<&Profile> = Vec::new();
    for name in names {
        let profile = config.profile(name)?;
        if !profiles.iter().any(|other| other.name == profile.name) {
            profiles.push(profile);
        }
    }
    if names.is_empty() {
        profiles.extend(config.profiles.iter().filter(|profile| profile.enabled));
    }
    let lanes = || profiles.iter().flat_map(|profile| profile.lanes());
    known("user", user, lanes().map(|lane| lane.key.user.as_str()))?;
    known("stream", stream, lanes().map(|lane| lane.key.stream.as_str()))?;
    let wanted = |lane: &&LaneSpec| {
        user.is_none_or(|user| lane.key.user == user) && stream.is_none_or(|stream| lane.key.stream == stream)
    };
    let selected =
        profiles.iter().map(|profile| Selected { profile, lanes: profile.lanes().iter().filter(wanted).collect() });
    Ok(selected.filter(|selected| !selected.lanes.is_empty()).collect())
}

fn known<'a>(what: &str, word: Option<&str>, there: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
    let Some(word) = word else { return Ok(()) };
    let mut there: Vec<&str> = there.filter(|name| !name.is_empty()).collect();
    there.sort_unstable();
    there.dedup();
    if there.contains(&word) {
        return Ok(());
    }
    let problem = Problem::new(format!("none of these profiles has a {what} `{word}`"));
    let help = suggest(word, there.iter().copied());
    Err(if help.is_empty() { problem.help(format!("they have no {what}s")) } else { problem.help(help) })
}
