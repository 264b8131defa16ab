//! Values that are wrong everywhere, and messages made wrong in every place.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

/// As a form has them.
pub fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "\0",
        "\r\nX-Evil: 1",
        "-1",
        "0",
        "18446744073709551616",
        "1e999",
        "NaN",
        "null",
        "true",
        "[]",
        "{\"a\":1}",
        "../../etc/passwd",
        "%00%ff",
        "<Response><Dial>1</Dial></Response>",
        "' OR 1=1 --",
        "${jndi:ldap://x}",
        "💥\u{202e}",
        "CA404",
    ]
    .map(str::to_owned)
    .into();
    texts.push("x".repeat(20_000));
    texts
}

/// As JSON has them.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("18446744073709551616"),
        json!("x".repeat(3_000)),
        json!([]),
        json!({ "a": { "b": [1, 2, 3] } }),
    ]
}

/// Each place of a message with each hostile value in it, without it, and with something beside it that is not known.
pub fn mutations(message: &Value) -> Vec<(String, String)> {
    let mut places = Vec::new();
    find(message, String::new(), &mut places);
    let mut mutations = Vec::new();
    for place in places {
        for (index, value) in values().into_iter().enumerate() {
            let mut mutated = message.clone();
            *mutated.pointer_mut(&place).unwrap() = value;
            mutations.push((format!("{place}#{index}"), mutated.to_string()));
        }
        let (parent, key) = place.rsplit_once('/').unwrap();
        let mut mutated = message.clone();
        if let Some(object) = mutated.pointer_mut(parent).and_then(Value::as_object_mut) {
            object.remove(key);
            mutations.push((format!("{place} missing"), mutated.to_string()));
        }
    }
    let mut more = message.clone();
    more.as_object_mut().unwrap().insert("unknown".to_owned(), json!([{ "deep": [[[[]]]] }]));
    mutations.push(("something unknown".to_owned(), more.to_string()));
    mutations
}

fn find(value: &Value, place: String, places: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(array) => array.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (key, value) in children {
        let place = format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"));
        places.push(place.clone());
        find(value, place, places);
    }
}

/// A message cut off, at every seventh byte.
pub fn truncations(message: &Value) -> Vec<(String, String)> {
    let text = message.to_string();
    let cut = |at: usize| (format!("cut at {at}"), text[..text.floor_char_boundary(at)].to_owned());
    (0..text.len()).step_by(7).map(cut).collect()
}

/// What `strategy` comes up with: the same in each run.
pub fn some<T>(count: usize, strategy: impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Any JSON, of no great depth.
pub fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z_A-Z]{1,12}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
