//! A connector that tries what its settings say and tells in `describe` how that went.

use std::process::Command;

use pairwise_plugin_api::ops::*;
use pairwise_plugin_api::schemars::JsonSchema;
use pairwise_plugin_api::serde::Deserialize;
use pairwise_plugin_api::*;

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "pairwise_plugin_api::serde", default)]
#[schemars(crate = "pairwise_plugin_api::schemars")]
#[derive(Default)]
struct Config {
    /// A file that the manifest asks for.
    allowed: String,
    /// A file that it does not ask for.
    denied: String,
    /// It never gets ready.
    never_ready: bool,
}

struct Fixture(Config);

fn tried<T>(what: &str, result: std::io::Result<T>) -> String {
    format!("{what}: {}", result.map_or_else(|error| error.kind().to_string(), |_| "done".to_owned()))
}

impl Connector for Fixture {
    type Config = Config;

    fn create(config: Config, _: &Context) -> Result<Self> {
        tracing::info!(answer = 42, "created");
        while config.never_ready {
            std::thread::park();
        }
        Ok(Fixture(config))
    }

    fn describe(&self, _: &Context) -> Result<Description> {
        let mut told = vec![
            tried("allowed", std::fs::read(&self.0.allowed)),
            tried("denied", std::fs::read(&self.0.denied)),
            tried("program", Command::new("/bin/true").status()),
            tried("socket", std::net::TcpStream::connect("127.0.0.1:9")),
        ];
        #[cfg(feature = "newer")]
        told.push(format!("host function of 1.1: {:?}", host_function_of_1_1()));
        told.push(format!("secret of the host: {:?}", std::env::var_os("HOME")));
        Ok(Description { target: told.join(", "), ..Description::default() })
    }

    fn discover(&self, _: &Context, _: DiscoverRequest) -> Result<Catalogue> {
        Ok(Catalogue::default())
    }

    fn check(&self, _: &Context, _: CheckRequest) -> Result<Vec<Condition>> {
        Ok(Vec::new())
    }

    fn list(&self, _: &Context, _: ListRequest) -> Result<Page> {
        Ok(Page::default())
    }

    /// Takes two seconds and tells all the time how it gets on.
    fn get(&self, cx: &Context, _: GetRequest) -> Result<Vec<Found>> {
        for done in 0..20 {
            cx.progress(done, 20);
            if cx.wait(std::time::Duration::from_millis(100)) {
                return Err(Failure::new(Class::Cancelled, "asked to stop"));
            }
        }
        Ok(Vec::new())
    }

    fn write(&self, _: &Context, _: WriteRequest) -> Result<Vec<Outcome>> {
        Ok(Vec::new())
    }

    fn watch(&self, cx: &Context, _: WatchRequest) -> Result<WatchResponse> {
        for id in ["1", "2"] {
            cx.announce(&Announcement { principal: None, at: vec![RecordRef::new("contacts", id)] });
        }
        while !cx.wait(std::time::Duration::from_secs(60)) {}
        Ok(WatchResponse::default())
    }
}

pairwise_plugin! {
    manifest: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/plugin.json")),
    connector: Fixture,
}
