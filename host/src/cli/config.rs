//! `config schema`.

use serde_json::json;

use super::app::App;
use super::args::SchemaArg;
use super::error::Result;
use super::exit::Exit;
use crate::config::schema;

pub(super) fn schema(app: &App, file: Option<SchemaArg>) -> Result<Exit> {
    let document = match file {
        Some(SchemaArg::Host) => schema::host(),
        Some(SchemaArg::Profile) => schema::profile(),
        None => json!({ "pairwise.toml": schema::host(), "profiles/*.toml": schema::profile() }),
    };
    // A schema is for programs, whatever the format.
    app.out.verbatim(format_args!("{document:#}\n"));
    Ok(Exit::Done)
}
