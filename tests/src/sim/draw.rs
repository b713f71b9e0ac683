//! Draws scripts. Rates are drawn for each history, so that some are calm and some are hostile.

use pairwise_host::model::{Direction, MapChange, Per, Removal, Repair, Side, Sides, Winner};
use pairwise_plugin_api::{Capabilities, CreateKey};

use super::dice::Dice;
use super::script::{Carries, Deed, Fault, Parting, RowSetting, Setting, Step, Twist, Upgrade};
use super::system::{ADDRESS, FIELDS, Human, Weather};

const HOUR: i64 = 3_600_000;

/// A setting, and what happens in it.
pub(super) fn history(dice: &mut Dice) -> (Setting, Vec<Step>) {
    let setting = setting(dice);
    let count = 10 + dice.below(50);
    let people = 1 + dice.small(20) as Human;
    let twins = if setting.matching.is_some() { dice.small(u32::from(people) + 1) as Human } else { 0 };
    let rates = Rates::draw(dice, &setting, twins > 0);
    let mut draw = Draw { dice, rates, people };
    let one_card = Side::BOTH.iter().all(|side| setting.abilities[*side].uid) && draw.dice.percent(50);
    let twin = if one_card { Deed::Card } else { Deed::Twin };
    let mut steps: Vec<Step> = (0..twins).map(|who| Step::Deed(twin(who))).collect();
    while steps.len() < count as usize {
        let burst = draw.burst();
        steps.extend(burst);
    }
    (setting, steps)
}

fn abilities(dice: &mut Dice) -> Capabilities {
    let feed = dice.percent(75);
    Capabilities {
        feed,
        tombstones: feed && dice.percent(80),
        authoritative_get: dice.percent(60),
        conditional_writes: dice.percent(85),
        create_key: dice.pick(&[CreateKey::Takes, CreateKey::Takes, CreateKey::Searchable, CreateKey::None]),
        incarnation: dice.percent(80),
        uid: dice.percent(40),
        server_time: dice.percent(50),
        largest_batch: dice.pick(&[1, 2, 3, 10]),
        ..Capabilities::default()
    }
}

/// Whether what became of a create is found out by looking for what it holds.
pub(super) fn asks(abilities: &Capabilities) -> bool {
    abilities.create_key == CreateKey::None
}

fn setting(dice: &mut Dice) -> Setting {
    let mut setting = Setting::default();
    for side in Side::BOTH {
        setting.abilities[side] = abilities(dice);
        setting.respells[side] = dice.percent(50);
        setting.coarse[side] = dice.percent(50);
        setting.skew[side] = if dice.percent(20) { (i64::from(dice.below(7)) - 3) * HOUR } else { 0 };
    }
    if dice.percent(20) {
        (setting.abilities.left.uid, setting.abilities.right.uid) = (true, true);
    }
    setting.full_scan = dice.percent(10);
    setting.sweep_every = dice.pick(&[0, 0, 1, 3]);
    setting.batch = dice.pick(&[1, 2, 3, 20]);
    setting.winner = dice.pick(&[Winner::Latest, Winner::Latest, Winner::Left, Winner::Right, Winner::Hold]);
    setting.per = dice.pick(&[Per::Field, Per::Field, Per::Field, Per::Record]);
    setting.tie = dice.pick(&Side::BOTH);
    setting.matching = (!dice.percent(15)).then(|| dice.pick(&[Winner::Hold, Winner::Latest, Winner::Left]));
    setting.by_uid = dice.percent(70);
    for side in Side::BOTH.into_iter().filter(|_| setting.matching.is_none()) {
        // Without keys and without a match, nobody can tell a record of ours that somebody has edited since.
        let abilities = &mut setting.abilities[side];
        abilities.create_key = if asks(abilities) { CreateKey::Searchable } else { abilities.create_key };
    }
    setting.map_change = dice.pick(&[MapChange::Ask, MapChange::LeftWins, MapChange::RightWins]);
    if dice.percent(15) {
        setting.direction = dice.pick(&[Direction::LeftToRight, Direction::RightToLeft]);
        setting.repair = dice.pick(&[Repair::EveryRun, Repair::OnChange]);
    }
    for field in 2..FIELDS.len() {
        if dice.percent(20) {
            let directions = [Direction::LeftToRight, Direction::RightToLeft, Direction::None, Direction::Both];
            let direction =
                if setting.direction == Direction::Both { dice.pick(&directions) } else { setting.direction };
            let winner = dice.percent(50).then(|| dice.pick(&[Winner::Left, Winner::Right, Winner::Hold]));
            setting.rows.push(RowSetting { field, direction, winner });
        }
    }
    let removal = |dice: &mut Dice| {
        dice.pick(&[Removal::Delete, Removal::Delete, Removal::Delete, Removal::Trash, Removal::Keep, Removal::Restore])
    };
    setting.deleted = (removal(dice), removal(dice));
    setting.beats_edit = dice.percent(10);
    if dice.percent(25) {
        for side in Side::BOTH {
            setting.parting[side] = dice.pick(&[None, Some(Parting::Filter), Some(Parting::Folder)]);
        }
        let removals =
            [Removal::Keep, Removal::Keep, Removal::Delete, Removal::Restore, Removal::Exclude, Removal::Exclude];
        let (to_left, to_right) = (setting.has_folder(Side::Left), setting.has_folder(Side::Right));
        let removal = |dice: &mut Dice, excludes: bool| dice.pick(&removals[..if excludes { 6 } else { 4 }]);
        setting.parted = (removal(dice, to_right), removal(dice, to_left));
        setting.joins = dice.percent(50);
        if to_right && dice.percent(20) {
            setting.deleted.0 = Removal::Exclude;
        }
        if to_left && dice.percent(20) {
            setting.deleted.1 = Removal::Exclude;
        }
    }
    setting.removals_above = dice.pick(&[1, 3, 5, 50]);
    setting.attempts = dice.pick(&[2, 3, 5]);
    setting
}

/// How often what happens, in a hundred.
#[derive(Debug, Clone, Copy)]
struct Rates {
    runs: u32,
    creates: u32,
    /// Records that are made out of a copy of another one.
    /// Copies of one UID on both sides meet nobody knows whom; one of them may stand outside of its folder.
    copies: Sides<u32>,
    deletes: u32,
    clears: u32,
    reuses: u32,
    /// Records leave without being deleted, and come back.
    parts: u32,
    /// Records without a link are tied by their addresses.
    matches: bool,
    /// Addresses are edited. Not where records are found by them.
    addresses: bool,
    /// A listing may hide records: what it does not show is found by the next one only. Where records are found by what they
    /// hold, one of ours that is hidden when it is asked for cannot be told from one that was never made.
    hides: Sides<bool>,
    /// A host that slept may make what another one has made. Only a system that knows our keys can tell.
    sleeps: bool,
    faults: u32,
    deaths: u32,
    /// People and other hosts in the middle of a run. Where writes are not conditional, an edit between read and write may
    /// be lost, and nothing else is promised.
    meetings: u32,
    weather: u32,
    /// A system is put aside as a whole. Where a feed is read, nothing tells that; nor that records of ours are there already,
    /// where no link says so.
    empties: Sides<bool>,
    clocks: u32,
    cursors: u32,
    /// Another version of a plugin takes over.
    upgrades: u32,
    remaps: u32,
    disks: u32,
    poison: u32,
    /// A system may refuse a record. Where it is known by its key only by sending it again, and that is refused, a match must
    /// tell it.
    refuses: Sides<bool>,
    backups: u32,
}

impl Rates {
    fn draw(dice: &mut Dice, setting: &Setting, twins: bool) -> Rates {
        let conditional = Side::BOTH.iter().all(|side| setting.abilities[*side].conditional_writes);
        let folders = Side::BOTH.iter().any(|side| setting.has_folder(*side));
        let poison = if folders { 0 } else { dice.pick(&[0, 0, 0, 5]) };
        let backups = if setting.matching.is_some() { dice.pick(&[0, 0, 0, 4]) } else { 0 };
        // Whoever takes the id of an unreadable record shares its fate, and whoever takes that of a record and leaves its
        // folder at once is told as if that had left.
        let reuses = if backups == 0 && poison == 0 && !folders { dice.pick(&[0, 0, 10]) } else { 0 };
        let copied = dice.pick(&Side::BOTH);
        // One of ours that was refused when it was sent again is told by a match; by a copy's UID that finds the copy.
        let alone = !twins && backups == 0 && poison == 0 && reuses == 0 && !folders;
        let copies = if alone { dice.pick(&[0, 20, 40]) } else { 0 };
        Rates {
            runs: dice.pick(&[10, 25, 40]),
            creates: dice.pick(&[10, 30, 50]),
            copies: Sides::from_fn(|side| if side == copied { copies } else { 0 }),
            // What was made again since a backup is not known to be the same.
            deletes: if backups == 0 { dice.pick(&[0, 5, 20]) } else { 0 },
            clears: dice.pick(&[0, 10]),
            reuses,
            // What stands outside is not known to be the same.
            parts: if twins || backups > 0 || setting.parting == Sides::default() { 0 } else { 15 },
            matches: twins || backups > 0,
            // A create whose answer was lost, and that is refused when it is sent again, is looked for by what it holds.
            addresses: poison == 0
                && !twins
                && backups == 0
                && !Side::BOTH.iter().any(|side| asks(&setting.abilities[*side])),
            hides: Sides::from_fn(|side| {
                let found_again = setting.sweep_every > 0 && setting.parting == Sides::default();
                !twins && backups == 0 && found_again && !asks(&setting.abilities[side])
            }),
            sleeps: Side::BOTH.iter().all(|side| setting.abilities[*side].create_key == CreateKey::Takes),
            faults: dice.pick(&[0, 0, 10, 40]),
            deaths: dice.pick(&[0, 10, 40]),
            meetings: if conditional { dice.pick(&[0, 10, 40]) } else { 0 },
            weather: dice.pick(&[0, 0, 10]),
            empties: Sides::from_fn(|side| {
                !twins && backups == 0 && (setting.full_scan || !setting.abilities[side].feed)
            }),
            clocks: dice.pick(&[0, 0, 4]),
            cursors: dice.pick(&[0, 0, 8]),
            upgrades: dice.pick(&[0, 0, 0, 6]),
            remaps: dice.pick(&[0, 0, 0, 4]),
            disks: dice.pick(&[0, 0, 0, 8]),
            poison,
            refuses: Sides::from_fn(|side| {
                setting.matching.is_some() || setting.abilities[side].create_key != CreateKey::Takes
            }),
            backups,
        }
    }
}

struct Draw<'d> {
    dice: &'d mut Dice,
    rates: Rates,
    people: Human,
}

impl Draw<'_> {
    /// Mostly one step; now and then one person deletes many records, or a system is swapped for another with the same ids.
    fn burst(&mut self) -> Vec<Step> {
        let (deletes, reuses) = (self.rates.deletes > 0, self.rates.reuses > 0);
        if !self.dice.percent(3) || !deletes {
            return vec![self.step()];
        }
        let swapped = reuses && self.dice.percent(60);
        let side = self.dice.pick(&Side::BOTH);
        let first = self.who();
        let who = |place: u8| (first + place) % self.people;
        let deed = |place: u8| match swapped {
            true => Deed::Reuse(side, who(place), who(place)),
            false => Deed::Delete(side, who(place)),
        };
        (0..self.people.min(8)).map(|place| Step::Deed(deed(place))).collect()
    }

    fn step(&mut self) -> Step {
        let rates = self.rates;
        let side = self.dice.pick(&Side::BOTH);
        if self.dice.percent(rates.runs) {
            return if self.dice.percent(10) { Step::Plan } else { Step::Run(self.twists()) };
        }
        if self.dice.percent(rates.weather) {
            let weathers = [
                Weather::Fine,
                Weather::Truncated,
                Weather::Deaf,
                Weather::Dumb,
                Weather::Busy,
                Weather::Blackout,
                Weather::HalfView,
                Weather::Omits,
            ];
            let weathers = if rates.hides[side] { &weathers[..] } else { &weathers[..5] };
            if self.rates.empties[side] && self.dice.percent(20) {
                return Step::Weather(side, Weather::Emptied);
            }
            return Step::Weather(side, self.dice.pick(weathers));
        }
        if self.dice.percent(rates.clocks) {
            let by = (i64::from(self.dice.below(9)) - 4) * HOUR;
            return if self.dice.percent(50) { Step::Clock(by) } else { Step::Skew(side, by) };
        }
        if self.dice.percent(rates.cursors) {
            return Step::LoseCursors(side);
        }
        if self.dice.percent(rates.upgrades) {
            return Step::Upgrade(side, self.upgrade());
        }
        if self.dice.percent(rates.remaps) {
            return Step::Remap(2 + self.dice.below(2) as usize);
        }
        if self.dice.percent(rates.disks) {
            return Step::Disk(self.dice.percent(80).then(|| self.dice.below(3)));
        }
        if self.dice.percent(rates.poison) {
            let who = self.dice.percent(70).then(|| self.who());
            return match self.dice.below(10) {
                0..4 if rates.refuses[side] => Step::Poison(side, who),
                0..7 => Step::Busy(side, who),
                _ if rates.matches && rates.refuses[side] => Step::Poison(side, who),
                _ if rates.matches => Step::Busy(side, who),
                _ => Step::Garble(side, who),
            };
        }
        if self.dice.percent(rates.backups) {
            return if self.dice.percent(50) { Step::Backup } else { Step::Restore };
        }
        if self.dice.percent(5) {
            return Step::Wait(i64::from(self.dice.small(100_000)));
        }
        Step::Deed(self.deed())
    }

    fn upgrade(&mut self) -> Upgrade {
        let carries = self.dice.pick(&[Carries::Unasked, Carries::Whole, Carries::Whole, Carries::Nothing]);
        self.dice.pick(&[Upgrade::Minor(carries), Upgrade::Minor(carries), Upgrade::Major(carries), Upgrade::Back])
    }

    fn who(&mut self) -> Human {
        self.dice.below(u32::from(self.people)) as Human
    }

    fn deed(&mut self) -> Deed {
        let side = self.dice.pick(&Side::BOTH);
        let who = self.who();
        if self.dice.percent(self.rates.creates) {
            return if self.dice.percent(self.rates.copies[side]) {
                Deed::Copy(side, who, self.who())
            } else {
                Deed::Create(side, who)
            };
        }
        if self.dice.percent(self.rates.deletes) {
            return Deed::Delete(side, who);
        }
        if self.dice.percent(self.rates.parts) {
            return Deed::Part(side, who);
        }
        if self.dice.percent(self.rates.reuses) {
            return Deed::Reuse(side, who, self.who());
        }
        let field = self.dice.below(FIELDS.len() as u32) as usize;
        let field = if field == ADDRESS && !self.rates.addresses { 0 } else { field };
        Deed::Edit(side, who, field, self.dice.percent(self.rates.clears))
    }

    fn twists(&mut self) -> Vec<(u32, Twist)> {
        let mut twists = Vec::new();
        let at = |dice: &mut Dice| 1 + dice.small(128);
        while self.dice.percent(self.rates.faults) {
            let at = at(self.dice);
            twists.push((at, Twist::Fault(fault(self.dice))));
            // What is wrong with a system is mostly wrong for a while.
            while self.dice.percent(40) {
                twists.push((at, Twist::Fault(fault(self.dice))));
            }
        }
        if self.dice.percent(self.rates.deaths) {
            twists.push((at(self.dice), Twist::Die));
        }
        while self.dice.percent(self.rates.meetings) {
            let twist = if self.dice.percent(70) {
                Twist::Deed(self.deed())
            } else {
                // A lease lasts for a minute: the other host comes before, or behind.
                Twist::Rival(if self.rates.sleeps { self.dice.pick(&[1_000, 61_000]) } else { 1_000 })
            };
            twists.push((at(self.dice), twist));
        }
        twists.sort_by_key(|(at, _)| *at);
        twists
    }
}

/// How a call goes wrong.
pub(super) fn fault(dice: &mut Dice) -> Fault {
    let done = dice.small(12);
    dice.pick(&[
        Fault::NotSent,
        Fault::Throttled,
        Fault::Refused,
        Fault::Auth,
        Fault::Lost(done),
        Fault::Lost(u32::MAX),
        Fault::Late(done),
        Fault::Late(u32::MAX),
        Fault::Panic(done),
        Fault::Shuffled,
        Fault::Mixed,
    ])
}
