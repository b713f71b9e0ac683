//! A whole lane over two systems in memory: what the pipeline and the store cost without plugins, processes and files.

use divan::{Bencher, counter::ItemsCount};
use pairwise_host::model::RunOptions;
use pairwise_tests::twins::World;

const RECORDS: usize = 10_000;

fn main() {
    divan::main();
}

fn full() -> World {
    let mut world = World::default();
    world.spec.batch = 500;
    world.left.abilities.largest_batch = 500;
    world.right.abilities.largest_batch = 500;
    for n in 0..RECORDS {
        let fields = [
            ("name/full", format!("Person Number {n}")),
            ("emails/1/address", format!("person.number{n}@example.org")),
            ("emails/2/address", format!("n{n}@home.example.org")),
            ("phones/work/number", format!("+49 30 {n:07}")),
            ("titles/1/name", "Engineer of difference engines".to_owned()),
            ("notes/1", "A note of some length, as people write them about other people. ".repeat(4)),
        ];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.left.put(&format!("some-rather-long-identifier-{n:06}.vcf"), &fields);
    }
    world
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn first_run(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(RECORDS)).with_inputs(full).bench_local_values(|mut world| {
        let report = world.run_with(RunOptions::default());
        assert_eq!(report.right.created, RECORDS as u64, "{report:?}");
        world
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn quiet_run(bencher: Bencher<'_, '_>) {
    let mut world = full();
    world.run();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let report = world.run_with(RunOptions::default());
        assert_eq!(report.right.written() + report.left.written(), 0);
    });
}
