//! JSON Schemas of our files: for `config schema`, for editors, and for our own checks.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::{Value as Json, json};

use super::check::{Owner, Schema};
use super::raw;

/// `pairwise.toml`.
pub(super) static HOST: LazyLock<Schema> = LazyLock::new(|| Schema::new(schema_of::<raw::Host>(), Owner::Host));
/// `profiles/*.toml`.
pub(super) static PROFILE: LazyLock<Schema> = LazyLock::new(|| Schema::new(schema_of::<raw::Profile>(), Owner::Host));

/// The schema of `pairwise.toml`.
#[must_use]
pub fn host() -> Json {
    HOST.json().clone()
}

/// The schema of `profiles/*.toml`.
#[must_use]
pub fn profile() -> Json {
    PROFILE.json().clone()
}

fn schema_of<T: JsonSchema>() -> Json {
    let generator = SchemaSettings::draft2020_12().with_transform(without_null).into_generator();
    generator.into_root_schema_for::<T>().to_value()
}

/// TOML has no null: a key that is not wanted is left out.
fn without_null(schema: &mut schemars::Schema) {
    transform_subschemas(&mut without_null, schema);
    if schema.get("default").is_some_and(|value| value.is_null() || *value == json!({})) {
        schema.remove("default");
    }
    if let Some(Json::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Json::Array(forms)) = schema.get_mut("anyOf") {
        forms.retain(|form| *form != json!({"type": "null"}));
        if let [Json::Object(only)] = forms.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.ensure_object().entry(key).or_insert(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_say_what_may_stand_where() {
        let profile = profile();
        assert_eq!(profile["required"], json!(["left", "right"]));
        assert_eq!(profile["additionalProperties"], json!(false));
        assert_eq!(profile["properties"]["preset"]["type"], "string");
        assert_eq!(host()["properties"]["state_dir"]["default"], "state");
    }

    #[test]
    fn no_schema_allows_null() {
        for schema in [host(), profile()] {
            assert!(!schema.to_string().contains("null"), "{schema:#}");
        }
    }
}
