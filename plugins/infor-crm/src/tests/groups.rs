//! Joining and leaving, in both versions.

use pairwise_plugin_api::Status;
use pairwise_sandbox::faults::{Fault, Match};

use super::*;

fn membership(action: Action, id: &str) -> Write {
    Write { action, at: contact(id), ..Write::default() }
}

fn outside(world: &World) -> String {
    let members = world.members();
    world.held("contacts").into_iter().find(|item| !members.contains(&item.id)).unwrap().id
}

/// IC-33, IC-40: in and out, and the contact itself stays as it is.
#[test]
fn a_contact_joins_and_leaves() {
    let world = World::of(5);
    let (id, inside) = (outside(&world), world.members()[0].clone());
    let before = world.holds("contacts", &inside).unwrap();
    let writes = vec![membership(Action::Include, &id), membership(Action::Exclude, &inside)];
    let outcomes = world.write(&in_group(), writes.clone()).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied));
    assert!(world.members().contains(&id) && !world.members().contains(&inside));
    assert_eq!(world.holds("contacts", &inside).unwrap(), before);
    assert_eq!(world.writes().len(), 1);
    // Again: nothing is left to do.
    let outcomes = world.write(&in_group(), writes).unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.status == Status::Applied));
    assert_eq!(world.writes().len(), 1);
    let nowhere = world.write(&Scope::new(), vec![membership(Action::Include, &id)]).unwrap();
    assert_eq!(nowhere[0].code, "no_group");
}

/// A person changes the group while we do: both changes hold.
#[test]
fn a_race_for_the_group_loses_nobody() {
    let world = World::of(5);
    let strangers: Vec<String> = {
        let members = world.members();
        let others = world.held("contacts").into_iter().map(|item| item.id);
        others.filter(|id| !members.contains(id)).take(2).collect()
    };
    world.check(in_group()).unwrap();
    world.command("join", json!({ "user": "lee", "group": GROUP, "ids": [strangers[0]] }));
    assert_eq!(world.one(membership(Action::Include, &strangers[1])).status, Status::Applied);
    assert!(strangers.iter().all(|id| world.members().contains(id)));
    let puts: Vec<Option<u16>> = {
        let requests = world.sandbox.requests(CRM, 0);
        requests.iter().filter(|request| request.method == "PUT").map(|request| request.status).collect()
    };
    assert_eq!(puts, [Some(412), Some(200)]);
}

/// The answer to the write of a group is lost: writing it again is the same.
#[test]
fn a_lost_answer_of_a_group_does_no_harm() {
    let world = World::of(5);
    let id = outside(&world);
    world.sandbox.fault(
        CRM,
        Fault {
            matching: Match { method: Some("PUT".into()), ..Match::default() },
            drop_connection: true,
            after_effect: true,
            ..Fault::default()
        },
    );
    assert_eq!(world.one(membership(Action::Include, &id)).status, Status::Applied);
    assert_eq!(world.members().iter().filter(|member| **member == id).count(), 1);
}

/// In 7.5.4 a word in the contact says that it belongs.
#[test]
fn in_the_old_version_a_word_marks_members() {
    let world = World::of(6);
    world.server(json!({ "edition": "7.5.4" }));
    assert_eq!(world.check(Scope::from([("group".to_owned(), "Friends".into())])).unwrap(), ["group_by_marker"]);
    let friends = Scope::from([("group".to_owned(), Value::from("Friends"))]);
    let (changes, cursor) = world.pull(&friends, "contacts", None).unwrap();
    assert_eq!(changes, []);
    let people: Vec<String> = world.held("contacts").into_iter().take(3).map(|item| item.id).collect();
    let joins = people.iter().map(|id| membership(Action::Include, id)).collect();
    assert!(world.write(&friends, joins).unwrap().iter().all(|outcome| outcome.status == Status::Applied));
    assert_eq!(world.holds("contacts", &people[0]).unwrap().fields["Categories"], "sync:Friends");
    let account = world.held("accounts")[0].id.clone();
    let made = create("contacts", fields([("LastName", "Newcomer"), ("Account", &account)]));
    let made = world.write(&friends, vec![made]).unwrap().pop().unwrap().record.unwrap();

    let (changes, cursor) = world.pull(&friends, "contacts", Some(cursor)).unwrap();
    let mut joined: Vec<&str> = people.iter().map(String::as_str).chain([made.at.id.as_str()]).collect();
    joined.sort_unstable();
    assert_eq!(ids(&changes), joined);
    assert_eq!(world.pull(&friends, "contacts", Some(cursor.clone())).unwrap().0, []);

    world.edit(&people[1], json!({ "Categories": "VIP" }));
    world.sandbox.delete(CRM, "admin", &people[2]).unwrap();
    let (changes, cursor) = world.pull(&friends, "contacts", Some(cursor)).unwrap();
    // Nothing but a second absence tells a deletion from a record that cannot be seen.
    assert_eq!(removed(&changes), [(people[1].as_str(), Reason::LeftScope), (people[2].as_str(), Reason::Unknown)]);
    let (changes, cursor) = world.pull(&friends, "contacts", Some(cursor)).unwrap();
    assert_eq!(removed(&changes), [(people[2].as_str(), Reason::Unknown)]);
    let (changes, cursor) = world.pull(&friends, "contacts", Some(cursor)).unwrap();
    assert_eq!(changes, []);

    let leave = world.write(&friends, vec![membership(Action::Exclude, &people[0])]).unwrap();
    assert_eq!(leave[0].status, Status::Applied);
    let (changes, _) = world.pull(&friends, "contacts", Some(cursor)).unwrap();
    assert_eq!(removed(&changes), [(people[0].as_str(), Reason::LeftScope)]);
}
