//! Many requests in one: JSON batches of twenty.
//!
//! Parts answer in any order, each with its own status. A part that certainly was not done is sent again; parts that read are
//! sent again whenever that may help.

use std::time::Duration;

use pairwise_http::{Effect, Json, Method, Refusal, Request, json};
use pairwise_plugin_api::serde::Serialize;
use pairwise_plugin_api::{Certainty, Class, Context, Failure, Principal, Result};

use crate::graph::{Graph, IN_FLIGHT, PREFER, Problem};

/// The largest batch that Graph takes.
pub(crate) const LARGEST: usize = 20;

/// How often a part is sent.
const ROUNDS: u32 = 5;

/// The longest pause between two rounds; a server that wants more is told to the host.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// One request of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) method: Method,
    /// From the mailbox on: `/users/…`.
    pub(crate) url: String,
    pub(crate) body: Option<Json>,
    pub(crate) if_match: Option<String>,
}

impl Part {
    pub(crate) fn new(method: Method, url: impl Into<String>) -> Self {
        Part { method, url: url.into(), body: None, if_match: None }
    }

    pub(crate) fn get(url: impl Into<String>) -> Self {
        Part::new(Method::Get, url)
    }

    fn sent(&self, id: usize) -> Sent<'_> {
        let headers = Headers {
            prefer: PREFER,
            if_match: self.if_match.as_deref(),
            content_type: self.body.as_ref().map(|_| "application/json"),
        };
        Sent { id: id.to_string(), method: self.method.name(), url: &self.url, body: self.body.as_ref(), headers }
    }

    fn repeats(&self, reply: &Reply) -> bool {
        match Refusal::of(reply.status) {
            Refusal::Throttled => true,
            Refusal::Passing => self.method == Method::Get,
            _ => reply.status == 424,
        }
    }
}

/// The body of a batch.
#[derive(Serialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
struct Requests<'a> {
    requests: Vec<Sent<'a>>,
}

/// A part on the wire.
#[derive(Serialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
struct Sent<'a> {
    id: String,
    method: &'static str,
    url: &'a str,
    headers: Headers<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a Json>,
}

#[derive(Serialize)]
#[serde(crate = "pairwise_plugin_api::serde")]
struct Headers<'a> {
    #[serde(rename = "Prefer")]
    prefer: &'static str,
    #[serde(rename = "If-Match", skip_serializing_if = "Option::is_none")]
    if_match: Option<&'a str>,
    #[serde(rename = "Content-Type", skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
}

/// What became of one part.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Json,
    pub(crate) retry_after: Option<Duration>,
}

impl Reply {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn problem(&self) -> Problem {
        Problem::of(self.status, &self.body)
    }
}

impl Graph {
    /// Sends reads, in as many batches as it takes; answers in their order.
    pub(crate) fn read_all(
        &self,
        cx: &Context,
        principal: &Principal,
        parts: &[Part],
        doing: &str,
    ) -> Result<Vec<Reply>> {
        let mut replies = Vec::with_capacity(parts.len());
        for chunk in parts.chunks(LARGEST) {
            for reply in self.batch(cx, principal, chunk, doing)? {
                if matches!(Refusal::of(reply.status), Refusal::Throttled | Refusal::Passing) {
                    let mut failure = Failure::new(
                        Refusal::of(reply.status).class(),
                        format!("{doing}: the server is busy: {}", reply.problem().said()),
                    );
                    failure.retry_after_ms = reply.retry_after.and_then(|pause| u64::try_from(pause.as_millis()).ok());
                    return Err(failure);
                }
                if let Some(failure) = self.explain(&reply.problem(), principal, doing) {
                    return Err(failure);
                }
                replies.push(reply);
            }
            cx.progress(replies.len() as u64, parts.len() as u64);
        }
        Ok(replies)
    }

    /// Sends one batch, and parts of it again where that is safe and helps.
    ///
    /// # Errors
    /// If the batch as a whole failed; then of parts that write nobody knows anything, unless the failure says so.
    pub(crate) fn batch(&self, cx: &Context, principal: &Principal, parts: &[Part], doing: &str) -> Result<Vec<Reply>> {
        let mut replies: Vec<Option<Reply>> = vec![None; parts.len()];
        let mut open: Vec<usize> = (0..parts.len()).collect();
        for round in 1.. {
            let got = match self.round(cx, principal, parts, &open, doing) {
                // What earlier rounds have done stays done: only of the rest nobody knows anything.
                Err(failure) if round > 1 => {
                    if failure.certainty == Certainty::Unknown {
                        open.iter().for_each(|at| replies[*at] = Some(lost(&failure)));
                    }
                    break;
                }
                got => got?,
            };
            for (at, reply) in open.iter().zip(got) {
                replies[*at] = Some(reply);
            }
            let again = |at: &usize| replies[*at].as_ref().is_some_and(|reply| parts[*at].repeats(reply));
            open.retain(again);
            let asked = open.iter().filter_map(|at| replies[*at].as_ref()?.retry_after).max();
            self.leave_alone(principal, asked);
            let pause = asked.unwrap_or(Duration::from_millis(200) * round);
            if open.is_empty() || round == ROUNDS || pause > LONGEST_PAUSE {
                break;
            }
            if cx.wait(pause) {
                return Err(Failure::new(Class::Cancelled, "the host asked to stop").unknown_outcome());
            }
        }
        Ok(replies.into_iter().map(|reply| reply.unwrap_or_else(unanswered)).collect())
    }

    fn round(
        &self,
        cx: &Context,
        principal: &Principal,
        parts: &[Part],
        open: &[usize],
        doing: &str,
    ) -> Result<Vec<Reply>> {
        let requests = Requests { requests: open.iter().map(|at| parts[*at].sent(*at)).collect() };
        let reads = open.iter().all(|at| parts[*at].method == Method::Get);
        let body = serde_json::to_string(&requests).map_err(|error| Failure::new(Class::Other, error.to_string()))?;
        let request = Request::post("/$batch").body("application/json", body).header("Accept", "application/json");
        let request = request.effect(if reads { Effect::None } else { Effect::Once });
        let permit = self.pass(cx, principal, open.len().min(IN_FLIGHT))?;
        let answer = self.send(cx, principal, request)?;
        // While this answer is read, another batch may be on its way.
        drop(permit);
        let answered = match self.json(&answer, principal, doing) {
            Ok(body) => body,
            Err(failure) if answer.is_success() && !reads => return Err(failure.unknown_outcome()),
            Err(failure) => return Err(failure),
        };
        let mut replies = vec![None; parts.len()];
        let responses = match answered {
            Json::Object(mut answered) => answered.remove("responses"),
            _ => None,
        };
        for response in responses.into_iter().flat_map(Json::into_list) {
            let id = response["id"].as_str().and_then(|id| id.parse::<usize>().ok());
            if let Some(place) = id.and_then(|id| replies.get_mut(id)) {
                *place = Some(Reply::of(response));
            }
        }
        Ok(open.iter().map(|at| replies[*at].take().unwrap_or_else(unanswered)).collect())
    }
}

impl Reply {
    pub(crate) fn of(response: Json) -> Self {
        let status = response["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let headers = response["headers"].as_object();
        let wait = headers.and_then(|headers| {
            let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
            value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
        });
        let body = match response {
            Json::Object(mut response) => response.remove("body").unwrap_or_default(),
            _ => Json::Null,
        };
        Reply { status: status.unwrap_or(500), body, retry_after: wait.map(Duration::from_secs) }
    }
}

/// The server left a part out: nobody knows what became of it.
fn unanswered() -> Reply {
    let body =
        json!({ "error": { "code": "NoAnswer", "message": "the server did not say what became of this request" } });
    Reply { status: 500, body, retry_after: None }
}

/// A repetition that got no answer.
fn lost(failure: &Failure) -> Reply {
    let body = json!({ "error": { "code": "NoAnswer", "message": failure.text } });
    Reply { status: 500, body, retry_after: None }
}
