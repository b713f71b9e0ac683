//! The host's loader, its very files, compiled against plugin API 1.1: opens the plugin that it is given and tells what it found.
#![allow(dead_code, reason = "the loader alone is used")]

#[path = "../../../../host/src/plugins/error.rs"]
mod error;
#[path = "../../../../host/src/plugins/find.rs"]
mod find;
#[path = "../../../../host/src/plugins/instance.rs"]
mod instance;
#[path = "../../../../host/src/plugins/load.rs"]
mod load;

mod callbacks;

use std::path::PathBuf;

use pairwise_plugin_api::codec;
use pairwise_plugin_api::ops::{Describe, DescribeRequest, Description, Operation};

#[derive(Debug)]
pub struct SettingProblem;

impl std::fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let library = PathBuf::from(std::env::args_os().nth(1).ok_or("which library?")?);
    let (_, manifest) = find::read(&library)?;
    let name = error::PluginName { id: manifest.id, version: manifest.version };
    let root = load::open(&load::Opening { name, library, in_process: true }, &callbacks::Quiet)?;
    println!("root field of 1.1: {:?}", root.later().map(|later| later()));

    let settings = codec::encode(&serde_json::json!({}))?;
    let raw = root.create()(settings.as_slice().into()).into_result().map_err(|error| error.message.to_string())?;
    println!("slot of 1.1: {}", raw.later());
    let request = codec::encode(&DescribeRequest::default())?;
    let answer = raw.call(Describe::OP, 1, request.as_slice().into()).into_result();
    let description: Description = codec::decode(&answer.map_err(|error| error.message.to_string())?)?;
    println!("describe: {}", description.target);
    Ok(())
}
