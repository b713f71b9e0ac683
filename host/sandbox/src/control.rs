//! The control API: the sandbox from outside, as JSON over HTTP. What it can do, [`Sandbox`](crate::Sandbox) can do too.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::sandbox::{Running, World};
use crate::system::{Complaint, Edit};

type Shared = State<Arc<World>>;
type Answer = Result<Json<Value>, Refused>;

pub(crate) fn router(world: Arc<World>) -> Router {
    Router::new()
        .route("/control/systems", get(systems))
        .route("/control/clock", get(clock).post(move_clock))
        .route("/control/{system}/records", get(records).post(edit))
        .route("/control/{system}/records/{*id}", delete(remove))
        .route("/control/{system}/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/control/{system}/requests", get(requests))
        .route("/control/{system}/commands/{command}", post(command))
        .with_state(world)
}

async fn systems(State(world): Shared) -> Json<Value> {
    Json(json!(world.infos()))
}

async fn clock(State(world): Shared) -> Json<Value> {
    Json(json!({ "now": world.clock.now() }))
}

/// Seconds, or a duration as people or ISO 8601 write it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Span {
    Seconds(f64),
    Text(jiff::SignedDuration),
}

impl Span {
    fn milliseconds(&self) -> i64 {
        match self {
            #[allow(clippy::cast_possible_truncation, reason = "a duration of more than 200 million years")]
            Span::Seconds(seconds) => (seconds * 1000.0) as i64,
            Span::Text(duration) => i64::try_from(duration.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    advance: Option<Span>,
    /// How far ahead the clock of each of these systems is.
    #[serde(default)]
    skew: std::collections::BTreeMap<String, Span>,
}

async fn move_clock(State(world): Shared, Json(to): Json<Move>) -> Answer {
    for (name, skew) in &to.skew {
        system(&world, name)?.core.set_skew(skew.milliseconds());
    }
    if let Some(advance) = to.advance {
        world.advance(advance.milliseconds());
    }
    Ok(Json(json!({ "now": world.clock.now() })))
}

#[derive(Deserialize)]
struct Which {
    entity: Option<String>,
    user: Option<String>,
}

async fn records(State(world): Shared, Path(name): Path<String>, Query(which): Query<Which>) -> Answer {
    let system = system(&world, &name)?;
    Ok(Json(json!(system.records(which.entity.as_deref(), which.user.as_deref()))))
}

async fn edit(State(world): Shared, Path(name): Path<String>, Json(edit): Json<Edit>) -> Answer {
    let id = system(&world, &name)?.system.edit(edit)?;
    Ok(Json(json!({ "id": id })))
}

#[derive(Deserialize)]
struct Who {
    #[serde(default)]
    user: String,
}

async fn remove(State(world): Shared, Path((name, id)): Path<(String, String)>, Query(who): Query<Who>) -> Answer {
    system(&world, &name)?.system.delete(&who.user, &id)?;
    Ok(Json(json!({})))
}

async fn faults(State(world): Shared, Path(name): Path<String>) -> Answer {
    Ok(Json(json!(system(&world, &name)?.core.faults().pending())))
}

async fn add_fault(State(world): Shared, Path(name): Path<String>, Json(fault): Json<Fault>) -> Answer {
    system(&world, &name)?.core.faults().add(fault);
    Ok(Json(json!({})))
}

async fn clear_faults(State(world): Shared, Path(name): Path<String>) -> Answer {
    system(&world, &name)?.core.faults().clear();
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: u64,
}

async fn requests(State(world): Shared, Path(name): Path<String>, Query(after): Query<Since>) -> Answer {
    Ok(Json(json!(system(&world, &name)?.core.journal().since(after.since))))
}

async fn command(
    State(world): Shared,
    Path((name, command)): Path<(String, String)>,
    Json(arguments): Json<Value>,
) -> Answer {
    Ok(Json(system(&world, &name)?.system.command(&command, &arguments)?))
}

fn system<'a>(world: &'a World, name: &str) -> Result<&'a Running, Refused> {
    world.system(name).ok_or_else(|| {
        let names: Vec<&str> = world.systems.iter().map(|system| system.name).collect();
        Refused(StatusCode::NOT_FOUND, format!("there is no system `{name}`; there are: {}", names.join(", ")))
    })
}

struct Refused(StatusCode, String);

impl From<Complaint> for Refused {
    fn from(complaint: Complaint) -> Self {
        let status = match complaint {
            Complaint::NoSuchRecord(_) | Complaint::NoSuchCommand(_) => StatusCode::NOT_FOUND,
            Complaint::Senseless(_) => StatusCode::BAD_REQUEST,
        };
        Refused(status, complaint.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}
