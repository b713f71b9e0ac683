//! Makes another history out of one that failed once. What met there by a rare chance is close by in it, and what went well in
//! one order may not in the next: a death or a fault at another point, other times and ids.

use pairwise_host::model::Side;

use super::dice::Dice;
use super::draw::{asks, fault};
use super::script::{Deed, Script, Step, Twist};
use super::system::{ADDRESS, Weather};

/// Runs seldom have more points than these.
const POINTS: u32 = 60;

/// The same with another seed, one run more, or other deaths and faults. Of one that [is not promised](is_promised) something
/// may come that is lost.
#[must_use]
pub fn mutant(script: &Script, dice: &mut Dice) -> Script {
    let mut script = script.clone();
    if dice.percent(50) {
        script.seed = dice.draw() >> 24;
    }
    let mut runs: Vec<usize> =
        (0..script.steps.len()).filter(|place| matches!(script.steps[*place], Step::Run(_))).collect();
    if runs.is_empty() || dice.percent(30) {
        let place = dice.below(script.steps.len() as u32 + 1) as usize;
        script.steps.insert(place, Step::Run(Vec::new()));
        runs = vec![place];
    }
    for _ in 0..1 + dice.below(2) {
        let twist = if dice.percent(60) { Twist::Die } else { Twist::Fault(fault(dice)) };
        if let Step::Run(twists) = &mut script.steps[dice.pick(&runs)] {
            twists.push((1 + dice.below(POINTS), twist));
            twists.sort_by_key(|(at, _)| *at);
        }
    }
    script
}

/// Whether something is promised for whatever deaths and faults come to a script. The generator draws no others, see its rates.
/// Of somebody who stands on both sides before anything was linked, nothing tells that a system which was put aside as a whole
/// had the same one; and a create whose outcome is looked for by what it holds is not found by an address that somebody has
/// typed over, nor told from a copy.
#[must_use]
pub fn is_promised(script: &Script) -> bool {
    let any = |is: fn(&Step) -> bool| script.steps.iter().any(is);
    let twins = any(|step| matches!(step, Step::Deed(Deed::Twin(_) | Deed::Card(_))));
    let emptied = any(|step| matches!(step, Step::Weather(_, Weather::Emptied)));
    let refused = any(|step| matches!(step, Step::Poison(..)));
    let restored = any(|step| matches!(step, Step::Restore));
    let asked = Side::BOTH.iter().any(|side| asks(&script.setting.abilities[*side]));
    let found_by_content = twins || refused || restored || asked;
    let copied = deeds(script).any(|deed| matches!(deed, Deed::Copy(..)));
    let retyped = deeds(script).any(|deed| matches!(deed, Deed::Edit(_, _, ADDRESS, _)));
    !(twins && emptied || refused && copied || found_by_content && retyped)
}

/// All that people do, between runs and in the middle of them.
fn deeds(script: &Script) -> impl Iterator<Item = Deed> {
    script.steps.iter().flat_map(|step| match step {
        Step::Deed(deed) => vec![*deed],
        Step::Run(twists) => {
            let deed = |(_, twist): &(u32, Twist)| if let Twist::Deed(deed) = twist { Some(*deed) } else { None };
            twists.iter().filter_map(deed).collect()
        }
        _ => Vec::new(),
    })
}
