//! What each run did, for people.

use pairwise_plugin_api::Millis;
use serde::Serialize;

use super::lanes::LastRun;
use super::transaction::{Answer, Fault, Tx, statements};
use super::{Db, lease};
use crate::model::{LaneReport, StoreResult};

/// A lane's report is kept up to this size; beyond it, operations are left out.
const MAX_REPORT: usize = 256 * 1024;

statements! {
    START = "INSERT INTO run (id, trigger, version, started) VALUES (?1, ?2, ?3, ?4)";
    NUMBER = "SELECT number FROM run WHERE id = ?1";
    LANE_DONE = "INSERT INTO run_lane (run, lane, report) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (run, lane) DO UPDATE SET report = excluded.report";
    FINISH = "UPDATE run SET finished = ?2 WHERE id = ?1";
    LAST = "SELECT number, id, trigger, version, started, finished FROM run ORDER BY number DESC LIMIT ?1";
    ONE = "SELECT number, id, trigger, version, started, finished FROM run WHERE id = ?1";
    REPORTS = "SELECT report FROM run_lane WHERE run = ?1 ORDER BY lane";
    LAST_OF_LANE = "SELECT run.id, run.started, run_lane.report FROM run_lane JOIN run ON run.number = run_lane.run \
                    WHERE run_lane.lane = ?1 ORDER BY run_lane.run DESC LIMIT 1";
    PRUNE = "DELETE FROM run WHERE started < ?1";
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    /// Its id, in the order of time.
    pub id: String,
    /// What started it: `command`, `schedule`, …
    pub trigger: String,
    /// The version of the host.
    pub version: String,
    /// When it began.
    pub started: Millis,
    /// When it ended; `None` while it runs, and for ever if it was killed.
    pub finished: Option<Millis>,
    /// What became of each lane.
    pub lanes: Vec<LaneReport>,
}

impl Db {
    /// A run begins.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn start_run(&mut self, run: &str, trigger: &str, version: &str) -> StoreResult<()> {
        self.transact(|tx| tx.run(START, (run, trigger, version, tx.now)).map(|_| ()))
    }

    /// A lane of the run is through.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn finish_lane(&mut self, run: &str, report: &LaneReport) -> StoreResult<()> {
        self.transact(|tx| {
            let number: i64 = tx
                .one(NUMBER, [run], |row| row.get(0))?
                .ok_or_else(|| Fault::Misused(format!("run {run} was never started")))?;
            let lane = lease::lane(tx, &report.key)?;
            tx.run(LANE_DONE, (number, lane, bounded(report)?)).map(|_| ())
        })
    }

    /// The run is over.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn finish_run(&mut self, run: &str) -> StoreResult<()> {
        self.transact(|tx| tx.run(FINISH, (run, tx.now)).map(|_| ()))
    }

    /// The last runs, latest first; their reports without single operations.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn runs(&mut self, last: usize) -> StoreResult<Vec<RunRow>> {
        self.read(0, |tx| {
            let rows = tx.all(LAST, [last], read)?;
            rows.into_iter()
                .map(|stored| {
                    let mut row = with_reports(tx, stored)?;
                    row.lanes.iter_mut().for_each(|report| report.items = None);
                    Ok(row)
                })
                .collect()
        })
    }

    /// One run with its operations.
    ///
    /// # Errors
    /// If the database does not answer.
    pub fn show_run(&mut self, id: &str) -> StoreResult<Option<RunRow>> {
        self.read(0, |tx| tx.one(ONE, [id], read)?.map(|stored| with_reports(tx, stored)).transpose())
    }
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<(i64, RunRow)> {
    let run = RunRow {
        id: row.get(1)?,
        trigger: row.get(2)?,
        version: row.get(3)?,
        started: row.get(4)?,
        finished: row.get(5)?,
        lanes: Vec::new(),
    };
    Ok((row.get(0)?, run))
}

fn with_reports(tx: &Tx<'_>, (number, mut run): (i64, RunRow)) -> Answer<RunRow> {
    let texts: Vec<String> = tx.all(REPORTS, [number], |row| row.get(0))?;
    run.lanes = texts.iter().map(|text| parse(text)).collect::<Answer<_>>()?;
    Ok(run)
}

/// What became of a lane in its last run.
pub(super) fn last_of_lane(tx: &Tx<'_>, lane: i64) -> Answer<Option<LastRun>> {
    let row: Option<(String, Millis, String)> =
        tx.one(LAST_OF_LANE, [lane], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some((run, started, text)) = row else { return Ok(None) };
    let report = LaneReport { items: None, ..parse(&text)? };
    Ok(Some(LastRun { run, started, report }))
}

/// Forgets runs that began earlier.
pub(super) fn prune(tx: &Tx<'_>, before: Millis) -> Answer<usize> {
    tx.run(PRUNE, [before])
}

fn parse(text: &str) -> Answer<LaneReport> {
    serde_json::from_str(text).map_err(|error| Fault::Misused(format!("a run's report cannot be read: {error}")))
}

/// The report as text, with as many operations as fit.
fn bounded(report: &LaneReport) -> Answer<String> {
    let text = |report: &LaneReport| serde_json::to_string(report).map_err(|error| Fault::Misused(error.to_string()));
    let mut json = text(report)?;
    if json.len() <= MAX_REPORT {
        return Ok(json);
    }
    let mut short = report.clone();
    let total = report.items.as_ref().map_or(0, Vec::len);
    while json.len() > MAX_REPORT && short.items.as_ref().is_some_and(|items| !items.is_empty()) {
        let kept = short.items.as_mut().map_or(0, |items| {
            items.truncate(items.len() / 2);
            items.len()
        });
        short.notes.clone_from(&report.notes);
        short.notes.push(format!("the first {kept} of {total} operations are kept"));
        json = text(&short)?;
    }
    Ok(json)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::model::{Item, LaneState, Op, Side, Store};

    fn item() -> Item {
        Item {
            op: Op::Create,
            side: Side::Right,
            entity: "contact".into(),
            id: String::new(),
            other_id: "a".repeat(100),
            label: "A".into(),
            reason: "new".into(),
            held: false,
            fields: Vec::new(),
        }
    }

    #[test]
    fn runs_are_listed_latest_first_and_shown_whole() {
        let (mut db, _) = world();
        let mut report = LaneReport::new(key());
        report.items = Some(vec![item()]);
        for run in ["r1", "r2"] {
            db.start_run(run, "command", "0.1.0").unwrap();
            db.finish_lane(run, &report).unwrap();
        }
        report.state = LaneState::Partial;
        db.finish_lane("r1", &report).unwrap();
        db.finish_run("r1").unwrap();
        let runs = db.runs(10).unwrap();
        assert_eq!(runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["r2", "r1"]);
        assert_eq!((runs[0].finished, runs[1].finished), (None, Some(runs[1].started)));
        assert_eq!(runs[1].lanes[0].items, None);
        assert_eq!(db.show_run("r1").unwrap().unwrap().lanes, [report]);
        assert_eq!((db.runs(1).unwrap().len(), db.show_run("r9").unwrap()), (1, None));
        assert_eq!(db.status().unwrap()[0].last.as_ref().unwrap().run, "r2");
        assert!(db.finish_lane("r9", &LaneReport::new(key())).unwrap_err().to_string().contains("never started"));
    }

    #[test]
    fn a_report_is_kept_as_far_as_it_fits() {
        let (mut db, _) = world();
        let mut report = LaneReport::new(key());
        report.items = Some(vec![item(); 10_000]);
        db.start_run("r", "command", "0.1.0").unwrap();
        db.finish_lane("r", &report).unwrap();
        let kept = db.show_run("r").unwrap().unwrap().lanes.remove(0);
        let items = kept.items.unwrap().len();
        assert!(items > 500 && items < 10_000);
        assert_eq!(kept.notes, [format!("the first {items} of 10000 operations are kept")]);
    }

    #[test]
    fn a_lane_that_never_came_to_its_lease_has_a_report_too() {
        let mut db = Db::in_memory().unwrap();
        db.start_run("r", "schedule", "0.1.0").unwrap();
        db.finish_lane("r", &LaneReport::new(key())).unwrap();
        assert_eq!(db.lanes().unwrap(), [key()]);
        let lease = db.take(&key(), &holder(1), 0).unwrap();
        assert_eq!(lease.epoch, 1);
    }
}
