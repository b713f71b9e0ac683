//! No panic leaves a plugin: one that did would end the whole process, because nothing can unwind across the boundary.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

use crate::failure::{Class, Failure};

thread_local! {
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `body`; a panic in it becomes a failure that tells its message and place.
pub(crate) fn catch<T>(slot: &str, body: impl FnOnce() -> T) -> Result<T, Failure> {
    GUARDED.set(GUARDED.get() + 1);
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    GUARDED.set(GUARDED.get() - 1);
    result.map_err(|payload| {
        let said = SAID.take().unwrap_or_else(|| message(&*payload).to_owned());
        forget(payload);
        Failure::new(Class::Panic, format!("the plugin panicked in `{slot}`: {said}"))
    })
}

/// Installs the hook of this library's copy of std: it remembers message and place for [`catch`], and gives panics on the
/// plugin's own threads, which nobody catches, to `report`.
pub(crate) fn install_hook(report: fn(&str)) {
    panic::set_hook(Box::new(move |info| {
        let said = describe(info);
        if GUARDED.get() > 0 {
            SAID.set(Some(said));
        } else {
            report(&said);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let text = message(info.payload());
    match info.location() {
        Some(place) => format!("{text} at {}:{}:{}", place.file(), place.line(), place.column()),
        None => text.to_owned(),
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
}

/// Dropping a payload may panic, too; what that panic carries is leaked rather than tried a third time.
fn forget(payload: Box<dyn Any + Send>) {
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        std::mem::forget(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_failure() {
        let failure = catch("list", || panic!("no {}", "luck")).err();
        assert!(
            failure.is_some_and(|f| f.class == Class::Panic && f.text.contains("`list`") && f.text.contains("no luck"))
        );
    }

    #[test]
    fn a_payload_that_panics_when_dropped_does_no_harm() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        let failure = catch("list", || panic::panic_any(Bomb)).err();
        assert!(failure.is_some_and(|f| f.text.contains("without text")));
    }
}
