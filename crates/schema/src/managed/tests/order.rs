//! In which order the elements of a list stand after an apply.

use serde_json::{Value, json};

use super::super::merge::merge;
use super::{Server, pod};
use crate::Schema;

/// Each letter is an element.
fn check(live: &str, applied: &str, merged: &str) {
    let schema = Schema::of("v1", "Pod").unwrap();
    let letters = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
    // As a set, and as a list of objects with keys.
    let set = |text: &str| json!({"metadata": {"finalizers": letters(text)}});
    let list = |text: &str| {
        let items = letters(text).into_iter();
        let items: Vec<Value> = items.map(|letter| json!({"name": letter})).collect();
        json!({"spec": {"containers": items}})
    };
    let told = format!("{live:?} and {applied:?}");
    assert_eq!(
        merge(schema, &set(live), &set(applied)),
        Ok(set(merged)),
        "{told}"
    );
    assert_eq!(
        merge(schema, &list(live), &list(applied)),
        Ok(list(merged)),
        "{told}"
    );
}

#[test]
fn lists_are_merged_in_the_order_of_upstream() {
    check("abc", "ab", "abc");
    check("ab", "abc", "abc");
    check("abc", "", "abc");
    check("", "abc", "abc");
    check("", "", "");
    // Those of both stand as they are applied.
    check("ab", "ba", "ba");
    check("abcd", "adcb", "adcb");
    check("cagf", "cfag", "cfag");
    check("abc", "cb", "acb");
    check("abc", "ca", "bca");
    check("abcd", "defa", "bcdefa");
    // Those of one alone come between them, first what was there.
    check("abc", "def", "abcdef");
    check("abc", "cdef", "abcdef");
    check("abcgf", "cdef", "abcgdef");
    check("cdef", "ace", "acdef");
    check("b", "abc", "abc");
    check("abcxyz", "defxyz", "abcdefxyz");
    check("abcd", "a1c2", "ab1cd2");
    check("cdefghij", "2h3e4kl", "cdfg2hij3e4kl");
    check("abcdefghij", "1b2h3e4kl", "a1bcdfg2hij3e4kl");
}

/// Nobody can apply a list with an element twice, but an update can have made one.
#[test]
fn elements_that_were_there_twice_stay_until_they_are_applied() {
    check("abb", "c", "abbc");
    check("abb", "a", "abb");
    check("abb", "b", "ab");
    check("aabb", "bcd", "aabcd");
    check("abcdec", "1b2ed", "a1bc2ecd");
    check("abcdec", "1b2ced", "a1b2ced");
    check("cagfca", "cfag", "cfag");
}

#[test]
fn elements_that_were_there_twice_are_owned_as_one() {
    let mut server = Server::of("v1", "Pod");
    let env = |entries: Value| pod(json!({"containers": [{"name": "c", "env": entries}]}));
    let twice = json!([{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]);
    let owned = |server: &Server, manager: &str| {
        server.fields(manager)["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["f:env"].clone()
    };
    let a = "k:{\"name\":\"A\"}";
    server.update("a", env(twice.clone()));
    assert_eq!(owned(&server, "a"), json!({".": {}, a: {}}));
    // One of them another: both are the writer's.
    server.update(
        "b",
        env(json!([{"name": "A", "value": "1"}, {"name": "A", "value": "3"}])),
    );
    assert_eq!(owned(&server, "a"), json!({}));
    assert_eq!(owned(&server, "b"), json!({a: {}}));
    // No more twice.
    server.update("c", env(json!([{"name": "A", "value": "1"}])));
    assert_eq!(owned(&server, "b"), Value::Null);
    assert_eq!(
        owned(&server, "c"),
        json!({a: {".": {}, "f:name": {}, "f:value": {}}})
    );
    // And again.
    server.update("d", env(twice));
    assert_eq!(owned(&server, "c"), Value::Null);
    assert_eq!(owned(&server, "d"), json!({a: {}}));
}

#[test]
fn elements_keep_what_is_not_applied() {
    let mut server = Server::of("v1", "Pod");
    server.update(
        "a",
        pod(json!({"containers": [{"name": "b", "image": "1", "tty": true}, {"name": "c"}]})),
    );
    server.force(
        "b",
        &pod(json!({"containers": [{"name": "a"}, {"name": "b", "image": "2"}]})),
    );
    assert_eq!(
        server.object()["spec"]["containers"],
        json!([{"name": "a"}, {"name": "b", "image": "2", "tty": true}, {"name": "c"}])
    );
}

#[test]
fn atomic_lists_are_replaced() {
    let mut server = Server::of("v1", "Pod");
    let args = |args: Value| pod(json!({"containers": [{"name": "c", "args": args}]}));
    server.apply("a", &args(json!(["x", "x", "y"]))).unwrap();
    server.apply("a", &args(json!(["x"]))).unwrap();
    assert_eq!(server.object(), args(json!(["x"])));
    server.apply("a", &args(json!(null))).unwrap();
    assert_eq!(server.object(), pod(json!({"containers": [{"name": "c"}]})));
}
