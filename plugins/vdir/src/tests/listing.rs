//! Listings of many files.

use super::folder::{World, card};

#[test]
fn many_new_files_are_looked_into_whatever_they_hold() {
    let world = World::new();
    let mut expected = Vec::new();
    for n in 0..900 {
        let name = format!("{n:04}.vcf");
        if n % 100 == 7 {
            world.put(&name, card("one", "One") + &card("two", "Two"));
            expected.extend([format!("{name}#one"), format!("{name}#two")]);
        } else {
            world.put(&name, card(&name, "Name"));
            expected.push(name);
        }
    }
    let (ids, cursor) = world.ids(None);
    assert!(ids.keys().eq(&expected), "{} of {}", ids.len(), expected.len());
    assert_eq!(world.ids(Some(&cursor)).0, ids);
}
