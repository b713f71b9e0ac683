//! A sandbox and a configuration folder that connects to it.

use pairwise_sandbox::{Options, Sandbox, SystemInfo};

use crate::world::World;

/// Simulated systems, and a world with a connection to each of them, called as the system is.
#[derive(Debug)]
pub struct Office {
    /// The systems: what they hold, what they were asked, what goes wrong next.
    pub sandbox: Sandbox,
    /// The configuration folder.
    pub world: World,
}

impl Office {
    /// Starts the systems that the options name.
    ///
    /// # Panics
    /// If one of them is not known.
    #[must_use]
    pub fn start(options: Options) -> Office {
        let office = Office { sandbox: Sandbox::start(options).expect("a sandbox"), world: World::empty() };
        let connections: Vec<String> =
            office.sandbox.systems().iter().map(|system| office.connection(system)).collect();
        office.world.put("pairwise.toml", &connections.join("\n"));
        office
    }

    /// A connection of the administrator's, or one that has no login of its own.
    fn connection(&self, system: &SystemInfo) -> String {
        let whole = system.logins.iter().find(|login| login.user.is_empty());
        let mut settings = whole.map(|login| login.settings.clone()).unwrap_or_default();
        settings.insert("url".into(), system.url.clone().into());
        // Strings of JSON are strings of TOML.
        let settings: Vec<String> = settings.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let secrets = whole.map(|login| self.secrets(&system.name, &login.secrets)).unwrap_or_default();
        format!(
            "[connections.{name}]\nplugin   = \"{name}\"\nsettings = {{ {} }}\nsecrets  = {{ {secrets} }}\n",
            settings.join(", "),
            name = system.name
        )
    }

    /// Keeps secrets in files; the answer is what stands in the configuration.
    fn secrets(&self, prefix: &str, secrets: &pairwise_sandbox::store::Fields) -> String {
        let secrets = secrets.iter().map(|(name, value)| {
            let file = format!("{prefix}.{name}");
            self.world.put(&file, value.as_str().unwrap_or_default());
            format!("{name} = {{ file = \"{file}\" }}")
        });
        secrets.collect::<Vec<_>>().join(", ")
    }

    /// Writes the profile `sales` between two of the systems, by this preset: every user of the left with the same person's
    /// mailbox on the right, each with the login of their own on the left and with these grants; then more of the profile.
    ///
    /// # Panics
    /// If one of the systems does not run.
    pub fn pair(&self, preset: &str, left: &str, right: &str, grants: &[&str], more: &str) {
        let (left, right) = (self.sandbox.info(left), self.sandbox.info(right));
        let named = |system: &SystemInfo| -> Vec<_> {
            system.logins.iter().filter(|login| !login.user.is_empty()).cloned().collect()
        };
        let users = named(&left).into_iter().zip(named(&right)).map(|(one, other)| {
            let secrets = self.secrets(&format!("{}-{}", left.name, one.user), &one.secrets);
            format!(
                "[[users]]\nleft = {:?}\nright = {:?}\nsecrets.left = {{ {secrets} }}\ngrants = {grants:?}\n",
                one.user, other.user
            )
        });
        let users: Vec<String> = users.collect();
        let head = format!("preset = {preset:?}\nleft = {:?}\nright = {:?}\nenabled = true\n", left.name, right.name);
        self.world.put("profiles/sales.toml", &format!("{head}\n{}\n{more}\n", users.join("\n")));
    }
}
