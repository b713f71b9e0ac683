//! Many requests in one: JSON batches of twenty.
//!
//! Parts answer in any order, each with its own status. A part that certainly was not done is sent again; parts that read are
//! sent again whenever that may help.

use std::time::Duration;

use pairwise_http::{Answer, Effect, Json, Method, Refusal, Request, json};
use pairwise_plugin_api::serde::{Deserialize, Serialize};
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

    /// Sends as many batches as it takes; what became of each, in their order. After one that failed, and when the host asks to
    /// stop, no other one is sent, and the answer ends there.
    ///
    /// One follows right upon another as long as all goes well: nobody else gets between them, and they are read when the last
    /// one is answered.
    pub(crate) fn batches(
        &self,
        cx: &Context,
        principal: &Principal,
        parts: &[Part],
        doing: &str,
    ) -> Vec<Result<Vec<Reply>>> {
        let mut answers = self.in_a_row(cx, principal, parts).into_iter();
        let mut told: Vec<Result<Vec<Reply>>> = Vec::new();
        for chunk in parts.chunks(LARGEST) {
            let first = answers.next();
            if first.is_none() && (cx.cancelled() || told.iter().any(Result::is_err)) {
                break;
            }
            told.push(self.rounds(cx, principal, chunk, first, doing));
        }
        told
    }

    /// The answers to batches, up to the first that has to be looked at before the next one may be sent.
    fn in_a_row(&self, cx: &Context, principal: &Principal, parts: &[Part]) -> Vec<Result<Answer>> {
        let requests: Result<Vec<Request>> = parts.chunks(LARGEST).map(|chunk| batched(chunk, &every(chunk))).collect();
        let ready = requests.and_then(|requests| Ok((requests, self.pass(cx, principal, parts.len().min(IN_FLIGHT))?)));
        let (requests, _permit) = match ready {
            Ok(ready) => ready,
            Err(failure) => return vec![Err(failure)],
        };
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let answer = self.send(cx, principal, request);
            let goes_well = answer.as_ref().is_ok_and(|answer| answer.is_success() && all_went_well(&answer.body));
            answers.push(answer);
            if !goes_well || cx.cancelled() {
                break;
            }
            cx.progress((answers.len() * LARGEST).min(parts.len()) as u64, parts.len() as u64);
        }
        answers
    }

    /// Sends one batch, and parts of it again where that is safe and helps.
    ///
    /// # Errors
    /// If the batch as a whole failed; then of parts that write nobody knows anything, unless the failure says so.
    pub(crate) fn batch(&self, cx: &Context, principal: &Principal, parts: &[Part], doing: &str) -> Result<Vec<Reply>> {
        self.rounds(cx, principal, parts, None, doing)
    }

    /// The same, with what was answered the first time if it was sent before.
    fn rounds(
        &self,
        cx: &Context,
        principal: &Principal,
        parts: &[Part],
        mut first: Option<Result<Answer>>,
        doing: &str,
    ) -> Result<Vec<Reply>> {
        let mut replies: Vec<Option<Reply>> = vec![None; parts.len()];
        let mut open = every(parts);
        for round in 1.. {
            let got = match self.round(cx, principal, parts, &open, first.take(), doing) {
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
        answer: Option<Result<Answer>>,
        doing: &str,
    ) -> Result<Vec<Reply>> {
        let answer = match answer {
            Some(answer) => answer?,
            None => {
                let request = batched(parts, open)?;
                // While this answer is read, another batch may be on its way.
                let _permit = self.pass(cx, principal, open.len().min(IN_FLIGHT))?;
                self.send(cx, principal, request)?
            }
        };
        let reads = answer.effect == Effect::None;
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

fn every(parts: &[Part]) -> Vec<usize> {
    (0..parts.len()).collect()
}

/// The request that holds the parts at these places.
fn batched(parts: &[Part], places: &[usize]) -> Result<Request> {
    let requests = Requests { requests: places.iter().map(|at| parts[*at].sent(*at)).collect() };
    let reads = places.iter().all(|at| parts[*at].method == Method::Get);
    let body = serde_json::to_string(&requests).map_err(|error| Failure::new(Class::Other, error.to_string()))?;
    let request = Request::post("/$batch").body("application/json", body).header("Accept", "application/json");
    Ok(request.effect(if reads { Effect::None } else { Effect::Once }))
}

/// Whether no part of a batch was held up: then the next batch may be sent before this answer is read.
pub(crate) fn all_went_well(answer: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(crate = "pairwise_plugin_api::serde")]
    struct Answered {
        responses: Vec<Part>,
    }
    #[derive(Deserialize)]
    #[serde(crate = "pairwise_plugin_api::serde")]
    struct Part {
        status: u16,
    }
    let held_up = |part: &Part| {
        matches!(Refusal::of(part.status), Refusal::Login | Refusal::Throttled | Refusal::Passing) || part.status == 424
    };
    serde_json::from_slice(answer).is_ok_and(|answered: Answered| !answered.responses.iter().any(held_up))
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
