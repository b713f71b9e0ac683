//! What the connector says about its settings and itself, and what it makes of a folder that is not there.

use pairwise_plugin_api::ops::{CheckRequest, DiscoverRequest, GetRequest, ListRequest, WriteRequest};
use pairwise_plugin_api::{Class, Connector, Context, RecordRef, Status};

use super::fixture;
use super::folder::{World, config, create, open};
use crate::Config;

#[test]
fn a_missing_folder_is_named_and_empties_nothing() {
    let world = World::new();
    let gone = world.dir.path().join("gone");
    let vdir = open(config(&gone));
    let cx = Context::detached();
    let failure = vdir.get(&cx, GetRequest { at: vec![RecordRef::new("contact", "a.vcf")], ..GetRequest::default() });
    let failure = failure.unwrap_err();
    assert!(failure.class == Class::Transient && failure.text.contains(gone.to_str().unwrap()), "{failure}");
    assert!(vdir.list(&cx, ListRequest::default()).is_err());
    let conditions = vdir.check(&cx, CheckRequest::default()).unwrap();
    assert!(conditions[0].code == "folder_missing" && conditions[0].text.contains("create_path"), "{conditions:?}");
    assert_eq!(vdir.validate(&cx).unwrap()[0].setting, "path");
    // With `create_path` an absent folder is an empty one until the first write, but only where none was seen before.
    let vdir = open(Config { create_path: true, ..config(&gone) });
    assert!(vdir.check(&cx, CheckRequest { write: true, ..CheckRequest::default() }).unwrap().is_empty());
    assert!(vdir.list(&cx, ListRequest::default()).unwrap().complete);
    let (_, cursor) = world.ids(None);
    assert!(vdir.list(&cx, ListRequest { previous: Some(cursor), ..ListRequest::default() }).is_err());
    assert!(!gone.exists());
    let request = WriteRequest { writes: vec![create("K", None, &[])], ..WriteRequest::default() };
    assert_eq!(vdir.write(&cx, request).unwrap()[0].status, Status::Applied);
    assert!(gone.join("K.vcf").exists());
}

#[test]
fn what_check_says() {
    let world = World::new();
    world.put("file", "");
    let codes = |config: Config, write| {
        let conditions = open(config).check(&Context::detached(), CheckRequest { write, ..CheckRequest::default() });
        conditions.unwrap().into_iter().map(|condition| condition.code).collect::<Vec<_>>()
    };
    let path = world.dir.path();
    assert_eq!(codes(config(&path.join("file")), false), ["not_a_folder"]);
    assert_eq!(codes(Config { trash: Some(path.join("file")), ..config(path) }, true), ["bad_trash"]);
    assert_eq!(codes(Config { trash: Some(path.to_owned()), ..config(path) }, true), ["bad_trash"]);
    assert_eq!(codes(Config { trash: Some("/proc/nowhere".into()), ..config(path) }, true), ["bad_trash"]);
    assert!(codes(Config { trash: Some(path.join("new")), ..config(path) }, true).is_empty());
}

#[test]
fn identity_is_the_folder_and_the_catalogue_is_sound() {
    let world = World::new();
    let cx = Context::detached();
    let description = world.vdir.describe(&cx).unwrap();
    let through_link = world.dir.path().join("link");
    std::os::unix::fs::symlink(world.dir.path(), &through_link).unwrap();
    assert_eq!(open(config(&through_link)).describe(&cx).unwrap().identity, description.identity);
    assert_eq!(description.target, world.dir.path().display().to_string());
    let catalogue = world.vdir.discover(&cx, DiscoverRequest::default()).unwrap();
    for entity in &catalogue.entities {
        let names: std::collections::BTreeSet<_> = entity.fields.iter().map(|field| field.name.clone()).collect();
        assert_eq!(names.len(), entity.fields.len(), "each name once");
        assert!(entity.fields.iter().all(|field| !field.path.is_empty()));
    }
    world.put("a.vcf", fixture("apple-3.0.vcf"));
    let contact = catalogue.entity("contact").unwrap();
    for (name, _) in world.get("a.vcf").fields.iter() {
        assert!(contact.field(name).is_some(), "{name} is not in the catalogue");
    }
}
