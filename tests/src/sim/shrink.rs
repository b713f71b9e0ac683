//! Makes a failing script shorter: fewer steps, then fewer twists, then a plainer setting, as long as it fails in the same way.

use super::script::{Script, Setting, Step};
use super::switch::Switch;
use super::world::play_without;

/// So many histories are played at most.
const LIMIT: u32 = 4_000;

/// The shortest script found that breaks the same property. Where mechanisms are missing, it breaks nothing with them.
#[must_use]
pub fn shrink(script: &Script, property: &str, missing: &[Switch]) -> Script {
    let mut search = Search { best: script.clone(), property, missing, played: 0 };
    loop {
        let before = search.best.clone();
        search.steps();
        search.twists();
        search.setting();
        if search.best == before || search.played >= LIMIT {
            return search.best;
        }
    }
}

/// Whether a script goes well as soon as one of the missing mechanisms is there.
#[must_use]
pub fn needs_all(script: &Script, missing: &[Switch]) -> bool {
    (0..missing.len()).all(|place| {
        let others: Vec<Switch> =
            missing.iter().enumerate().filter(|(of, _)| *of != place).map(|(_, one)| *one).collect();
        play_without(script, &others).broken.is_empty()
    })
}

struct Search<'a> {
    best: Script,
    property: &'a str,
    missing: &'a [Switch],
    played: u32,
}

impl Search<'_> {
    /// Takes a shorter script if it fails in the same way.
    fn tries(&mut self, script: Script) -> bool {
        if self.played >= LIMIT || script == self.best {
            return false;
        }
        self.played += 1;
        let verdict = play_without(&script, self.missing);
        let fails =
            verdict.broken.iter().any(|broken| broken.property == self.property) && needs_all(&script, self.missing);
        if fails {
            self.best = script;
        }
        fails
    }

    fn steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut script = self.best.clone();
                script.steps.drain(start..end);
                self.tries(script);
                end = start;
            }
            size /= 2;
        }
    }

    fn twists(&mut self) {
        for place in 0..self.best.steps.len() {
            let mut twist = 0;
            while let Some(Step::Run(twists)) = self.best.steps.get(place)
                && twist < twists.len()
            {
                let mut script = self.best.clone();
                if let Step::Run(twists) = &mut script.steps[place] {
                    twists.remove(twist);
                }
                if !self.tries(script) {
                    twist += 1;
                }
            }
        }
    }

    /// Each member as in the plainest setting.
    fn setting(&mut self) {
        macro_rules! plainer {
            ($($($member:ident).+),+ $(,)?) => {{
                let plain = Setting::default();
                $({
                    let mut script = self.best.clone();
                    script.setting.$($member).+ = plain.$($member).+.clone();
                    self.tries(script);
                })+
            }};
        }
        plainer!(
            abilities,
            abilities.left,
            abilities.right,
            respells.left,
            respells.right,
            coarse,
            skew,
            direction,
            repair,
            full_scan,
            sweep_every,
            winner,
            per,
            tie,
            matching,
            rows,
            map_change,
            deleted,
            beats_edit,
            parting.left,
            parting.right,
            parted,
            joins,
            full_scan,
            removals_above,
            batch,
            attempts,
        );
    }
}
