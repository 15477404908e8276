//! Patches, as upstream's own tests tell of them, and what must hold of any.

mod kinds;
mod properties;
mod strategic;

use serde_json::Value;

use super::{PatchError, json, merge};

/// YAML's short way to write JSON would need a parser here: single quotes have to do.
fn read(text: &str) -> Value {
    serde_json::from_str(&text.replace('\'', "\""))
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check(
    patch: fn(&Value, &Value) -> Result<Value, PatchError>,
    cases: &[(&str, &str, Result<&str, &str>)],
) {
    for (object, operations, expected) in cases {
        let got = patch(&read(object), &read(operations)).map_err(|error| error.to_string());
        let expected = expected.map(read).map_err(str::to_owned);
        assert_eq!(got, expected, "{object} with {operations}");
    }
}

#[test]
fn json_patches_do_what_upstream_does() {
    check(
        json,
        &[
            ("{'a':1}", "[]", Ok("{'a':1}")),
            (
                "{'a':1}",
                "[{'op':'add','path':'/b','value':2}]",
                Ok("{'a':1,'b':2}"),
            ),
            (
                "{'a':1}",
                "[{'op':'add','path':'/a','value':2}]",
                Ok("{'a':2}"),
            ),
            (
                "{'a':[1,3]}",
                "[{'op':'add','path':'/a/1','value':2}]",
                Ok("{'a':[1,2,3]}"),
            ),
            (
                "{'a':[1,2]}",
                "[{'op':'add','path':'/a/-','value':3}]",
                Ok("{'a':[1,2,3]}"),
            ),
            (
                "{'a':[1,2]}",
                "[{'op':'add','path':'/a/2','value':3}]",
                Ok("{'a':[1,2,3]}"),
            ),
            (
                "{'a':[1,2]}",
                "[{'op':'add','path':'/a/-1','value':3}]",
                Ok("{'a':[1,2,3]}"),
            ),
            (
                "{'a':[1,2]}",
                "[{'op':'remove','path':'/a/-1'}]",
                Ok("{'a':[1]}"),
            ),
            (
                "{'a':[1,2]}",
                "[{'op':'remove','path':'/a/0'}]",
                Ok("{'a':[2]}"),
            ),
            (
                "{'a':1,'b':2}",
                "[{'op':'remove','path':'/b'}]",
                Ok("{'a':1}"),
            ),
            (
                "{'a':[1,2]}",
                "[{'op':'replace','path':'/a/0','value':5}]",
                Ok("{'a':[5,2]}"),
            ),
            (
                "{'a':1}",
                "[{'op':'replace','path':'/b','value':2}]",
                Ok("{'a':1,'b':2}"),
            ),
            (
                "{'a':1}",
                "[{'op':'replace','path':'','value':{'b':2}}]",
                Ok("{'b':2}"),
            ),
            (
                "{'a':{'x':1}}",
                "[{'op':'move','from':'/a/x','path':'/b'}]",
                Ok("{'a':{},'b':1}"),
            ),
            (
                "{'a':{'x':1}}",
                "[{'op':'copy','from':'/a','path':'/b'}]",
                Ok("{'a':{'x':1},'b':{'x':1}}"),
            ),
            (
                "{'a':1}",
                "[{'op':'test','path':'/a','value':1}]",
                Ok("{'a':1}"),
            ),
            (
                "{'a':1}",
                "[{'op':'test','path':'/b','value':null}]",
                Ok("{'a':1}"),
            ),
            (
                "{'a':1}",
                "[{'op':'test','path':'','value':{'a':1}}]",
                Ok("{'a':1}"),
            ),
            // Labels have slashes in them.
            (
                "{'l':{'a/b':'x','c~d':'y'}}",
                "[{'op':'remove','path':'/l/a~1b'},{'op':'remove','path':'/l/c~0d'}]",
                Ok("{'l':{}}"),
            ),
            ("{'~1':1}", "[{'op':'remove','path':'/~01'}]", Ok("{}")),
            (
                "{'a':1}",
                "[{'op':'test','path':'/a','value':2}]",
                Err("testing value /a failed: test failed"),
            ),
            (
                "{}",
                "[{'op':'add','path':'/a/b','value':2}]",
                Err("add operation does not apply: doc is missing path: \"/a/b\": missing value"),
            ),
            (
                "{}",
                "[{'op':'add','path':'','value':2}]",
                Err("add operation does not apply: doc is missing path: \"\": missing value"),
            ),
            (
                "{'a':[]}",
                "[{'op':'add','path':'/a/1','value':2}]",
                Err(
                    "error in add for path: '/a/1': Unable to access invalid index: 1: invalid index referenced",
                ),
            ),
            (
                "{'a':[]}",
                "[{'op':'add','path':'/a/-2','value':2}]",
                Err(
                    "error in add for path: '/a/-2': Unable to access invalid index: -2: invalid index referenced",
                ),
            ),
            (
                "{'a':1}",
                "[{'op':'remove','path':'/b'}]",
                Err(
                    "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value",
                ),
            ),
            (
                "{'a':1}",
                "[{'op':'remove','path':'/a/b'}]",
                Err(
                    "remove operation does not apply: doc is missing path: \"/a/b\": missing value",
                ),
            ),
            (
                "{'a':[]}",
                "[{'op':'replace','path':'/a/0','value':2}]",
                Err("replace operation does not apply: doc is missing key: /a/0: missing value"),
            ),
            (
                "{'a':1}",
                "[{'op':'move','from':'/b','path':'/c'}]",
                Err(
                    "error in move for path: 'b': Unable to remove nonexistent key: b: missing value",
                ),
            ),
            (
                "{'a':1}",
                "[{'op':'merge','path':'/a'}]",
                Err("Unexpected kind: merge"),
            ),
            (
                "{'a':1}",
                "[{'op':'remove'}]",
                Err(
                    "remove operation failed to decode path: operation missing path field: missing value",
                ),
            ),
            // All or nothing.
            (
                "{'a':1}",
                "[{'op':'add','path':'/b','value':2},{'op':'test','path':'/a','value':2}]",
                Err("testing value /a failed: test failed"),
            ),
            (
                "{}",
                "{}",
                Err(
                    "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
                ),
            ),
            (
                "{}",
                "['add']",
                Err(
                    "error decoding patch: json: cannot unmarshal string into Go value of type handlers.jsonPatchOp",
                ),
            ),
        ],
    );
}

#[test]
fn what_a_json_patch_copies_is_bounded() {
    // Each copy doubles what is there.
    let doubling = "{'op':'copy','from':'/a','path':'/a/-'}";
    let patch = format!("[{}]", vec![doubling; 40].join(","));
    let error = json(&read("{'a':[1]}"), &read(&patch)).unwrap_err();
    assert!(
        matches!(&error, PatchError::DoesNotApply(why) if why.starts_with("Unable to complete the copy")),
        "{error:?}"
    );
}

/// The examples of RFC 7386, appendix A, as far as they have objects on both sides.
#[test]
fn merge_patches_do_what_the_rfc_says() {
    check(
        merge,
        &[
            ("{'a':'b'}", "{'a':'c'}", Ok("{'a':'c'}")),
            ("{'a':'b'}", "{'b':'c'}", Ok("{'a':'b','b':'c'}")),
            ("{'a':'b'}", "{'a':null}", Ok("{}")),
            ("{'a':'b','b':'c'}", "{'a':null}", Ok("{'b':'c'}")),
            ("{'a':['b']}", "{'a':'c'}", Ok("{'a':'c'}")),
            ("{'a':'c'}", "{'a':['b']}", Ok("{'a':['b']}")),
            (
                "{'a':{'b':'c'}}",
                "{'a':{'b':'d','c':null}}",
                Ok("{'a':{'b':'d'}}"),
            ),
            ("{'a':[{'b':'c'}]}", "{'a':[1]}", Ok("{'a':[1]}")),
            ("{'e':null}", "{'a':1}", Ok("{'e':null,'a':1}")),
            ("{}", "{'a':{'bb':{'ccc':null}}}", Ok("{'a':{'bb':{}}}")),
            ("{}", "['c']", Err("Invalid JSON Patch")),
            ("{}", "null", Err("Invalid JSON Patch")),
        ],
    );
}
