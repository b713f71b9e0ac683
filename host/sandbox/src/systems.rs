//! The systems that there are.

use std::sync::Arc;

use crate::core::Core;
use crate::exchange::Exchange;
use crate::infor_crm::InforCrm;
use crate::system::System;

/// A system's name (that of its connector) and how it is built.
pub type Entry = (&'static str, fn(Core) -> Arc<dyn System>);

/// All systems, in the order in which they are started and listed. One line each.
pub const SYSTEMS: &[Entry] = &[
    ("infor-crm", |core| Arc::new(InforCrm::new(core))),
    ("exchange", Exchange::build),
    ("outlook", crate::outlook::build),
];
