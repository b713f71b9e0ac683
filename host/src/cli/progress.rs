//! Watches a run: progress on the terminal, and a person's wish to stop.

use std::io::IsTerminal;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::interrupt::Interrupt;
use super::output::Out;
use crate::model::{Observer, Sides, Stage};

/// All bars of this process. Log lines are printed through it, above the bars.
pub(super) static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// How often a bar moves although nothing is told.
const TICK: Duration = Duration::from_millis(100);

/// Watches one lane.
#[derive(Debug)]
pub(crate) struct Watch {
    interrupt: Interrupt,
    connections: Sides<String>,
    bar: Option<ProgressBar>,
    stage: Mutex<Option<Stage>>,
}

impl Watch {
    /// A watch on the lane of this name between these connections. Bars are drawn on a terminal only.
    pub(crate) fn new(out: Out, interrupt: &Interrupt, lane: &str, connections: Sides<String>) -> Self {
        let bar = (!out.json() && std::io::stderr().is_terminal()).then(|| {
            let bar = BARS.add(ProgressBar::new_spinner());
            bar.set_style(spinner());
            bar.set_prefix(lane.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        Watch { interrupt: interrupt.clone(), connections, bar, stage: Mutex::new(None) }
    }

    fn words(&self, stage: Stage) -> String {
        match stage {
            Stage::Prepare => "connecting".into(),
            Stage::Recover => "finishing what the last run left open".into(),
            Stage::Pull(side) => format!("reading {} ({side})", self.connections[side]),
            Stage::Match => "matching".into(),
            Stage::Guard => "checking the guards".into(),
            Stage::Settle => "settling".into(),
            Stage::Report => "finishing".into(),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            BARS.remove(bar);
        }
    }
}

impl Observer for Watch {
    fn stage(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
        if let Some(bar) = &self.bar {
            bar.set_style(spinner());
            bar.set_length(0);
            bar.set_position(0);
            bar.set_message(self.words(stage));
        }
    }

    fn progress(&self, done: u64, total: u64) {
        let Some(bar) = &self.bar else { return };
        if total > 0 && bar.length() != Some(total) {
            bar.set_style(measured());
            bar.set_length(total);
        }
        bar.set_position(done);
    }

    fn cancelled(&self) -> bool {
        let raised = self.interrupt.raised();
        if raised && let Some(bar) = &self.bar {
            bar.set_message("stopping after the batch in hand (Ctrl-C again ends at once)");
        }
        raised
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold}  {msg} {human_pos:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn measured() -> ProgressStyle {
    ProgressStyle::with_template(
        "{spinner:.cyan} {prefix:.bold}  {msg} {bar:24.cyan/dim} {human_pos}/{human_len} {eta:.dim}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
}
