//! Strategic merge patch. The cases are those of upstream's patch_test.go, told anew, and what kubectl sends.

use serde_json::Value;

use super::kinds::merge_item;
use super::read;
use crate::Schema;
use crate::patch::{PatchError, strategic};

/// Object, patch, and what comes of it.
type Case<'c> = (&'c str, &'c str, &'c str);

fn check(schema: &Schema, cases: &[Case<'_>]) {
    for (object, patch, expected) in cases {
        let got = strategic(schema, &read(object), &read(patch));
        assert_eq!(got, Ok(read(expected)), "{object} with {patch}");
    }
}

fn pod() -> &'static Schema {
    Schema::of("v1", "Pod").unwrap()
}

#[test]
fn strategic_patches_do_what_upstream_does() {
    check(
        merge_item(),
        &[
            // Fields of objects.
            ("{'name':'a'}", "{}", "{'name':'a'}"),
            ("{'name':'a'}", "{'value':'b'}", "{'name':'a','value':'b'}"),
            ("{'name':'a','value':'b'}", "{'value':null}", "{'name':'a'}"),
            ("{'name':'a'}", "{'value':null}", "{'name':'a'}"),
            (
                "{'simpleMap':{'x':'1'}}",
                "{'simpleMap':{'y':'2','z':null}}",
                "{'simpleMap':{'x':'1','y':'2'}}",
            ),
            (
                "{}",
                "{'simpleMap':{'y':'2','z':null}}",
                "{'simpleMap':{'y':'2'}}",
            ),
            ("{'simpleMap':{'x':'1'}}", "{'simpleMap':null}", "{}"),
            (
                "{'simpleMap':{'x':'1'}}",
                "{'simpleMap':{'$patch':'replace','y':'2'}}",
                "{'simpleMap':{'y':'2'}}",
            ),
            (
                "{'simpleMap':{'x':'1'}}",
                "{'simpleMap':{'$patch':'delete'}}",
                "{'simpleMap':{}}",
            ),
            (
                "{'name':'a'}",
                "{'$patch':'replace','value':'b'}",
                "{'value':'b'}",
            ),
            ("{'name':'a'}", "{'$patch':'delete'}", "{}"),
            // Where there was nothing, directives are only directives.
            (
                "{}",
                "{'simpleMap':{'$patch':'delete'},'mergingList':[{'name':'a'},{'$patch':'delete','name':'b'}]}",
                "{'mergingList':[{'name':'a'}]}",
            ),
            // A value of another type takes the place.
            (
                "{'name':1}",
                "{'name':{'x':1,'y':null}}",
                "{'name':{'x':1}}",
            ),
            (
                "{'replacingItem':{'a':1}}",
                "{'replacingItem':{'b':2}}",
                "{'replacingItem':{'b':2}}",
            ),
            // Lists that are not merged.
            (
                "{'nonMergingList':[{'name':'a'}]}",
                "{'nonMergingList':[{'name':'b'}]}",
                "{'nonMergingList':[{'name':'b'}]}",
            ),
            (
                "{'nonMergingIntList':[1,2]}",
                "{'nonMergingIntList':[3]}",
                "{'nonMergingIntList':[3]}",
            ),
            // Lists of objects.
            (
                "{'mergingList':[{'name':'a','value':'1'},{'name':'b'}]}",
                "{'mergingList':[{'name':'a','other':'x'}]}",
                "{'mergingList':[{'name':'a','value':'1','other':'x'},{'name':'b'}]}",
            ),
            (
                "{'mergingList':[{'name':'a'}]}",
                "{'mergingList':[{'name':'b'}]}",
                "{'mergingList':[{'name':'b'},{'name':'a'}]}",
            ),
            (
                "{'mergingList':[{'name':'a'},{'name':'b'}]}",
                "{'mergingList':[{'$patch':'delete','name':'a'}]}",
                "{'mergingList':[{'name':'b'}]}",
            ),
            (
                "{'mergingList':[{'name':'a'},{'name':'b'},{'name':'a'}]}",
                "{'mergingList':[{'$patch':'delete','name':'a'}]}",
                "{'mergingList':[{'name':'b'}]}",
            ),
            (
                "{'mergingList':[{'name':'a'}]}",
                "{'mergingList':[{'$patch':'delete','name':'z'}]}",
                "{'mergingList':[{'name':'a'}]}",
            ),
            (
                "{'mergingList':[{'name':'a'},{'name':'b'}]}",
                "{'mergingList':[{'name':'c'},{'$patch':'replace'}]}",
                "{'mergingList':[{'name':'c'}]}",
            ),
            (
                "{'mergingList':[{'name':'a'}]}",
                "{'mergingList':[]}",
                "{'mergingList':[{'name':'a'}]}",
            ),
            (
                "{'mergingList':[]}",
                "{'mergingList':[]}",
                "{'mergingList':[]}",
            ),
            (
                "{'mergingList':[{'name':'a','mergingList':[{'name':'x'},{'name':'y'}]}]}",
                "{'mergingList':[{'name':'a','mergingList':[{'$patch':'delete','name':'x'}]}]}",
                "{'mergingList':[{'name':'a','mergingList':[{'name':'y'}]}]}",
            ),
            (
                "{'mergingList':[{'name':'a','value':'1','other':'2'}]}",
                "{'mergingList':[{'name':'a','$patch':'replace','value':'3'}]}",
                "{'mergingList':[]}",
            ),
            // Lists of scalars.
            (
                "{'mergingIntList':[1,2]}",
                "{'mergingIntList':[2,3]}",
                "{'mergingIntList':[1,2,3]}",
            ),
            (
                "{'mergingIntList':[1,2,3]}",
                "{'$deleteFromPrimitiveList/mergingIntList':[2]}",
                "{'mergingIntList':[1,3]}",
            ),
            (
                "{'mergingIntList':[1,2,3]}",
                "{'$deleteFromPrimitiveList/mergingIntList':[2],'mergingIntList':[4]}",
                "{'mergingIntList':[4,1,3]}",
            ),
            (
                "{'nonMergingIntList':[1,2,3]}",
                "{'$deleteFromPrimitiveList/nonMergingIntList':[2]}",
                "{'nonMergingIntList':[1,3]}",
            ),
            (
                "{}",
                "{'$deleteFromPrimitiveList/mergingIntList':[2]}",
                "{}",
            ),
            (
                "{'mergingIntList':[1]}",
                "{'$deleteFromPrimitiveList/mergingIntList':null}",
                "{}",
            ),
        ],
    );
}

#[test]
fn the_order_of_a_list_is_the_directives_then_the_objects() {
    check(
        merge_item(),
        &[
            // Alone, it only reorders.
            (
                "{'mergingList':[{'name':1},{'name':2},{'name':3}]}",
                "{'$setElementOrder/mergingList':[{'name':3},{'name':1},{'name':2}]}",
                "{'mergingList':[{'name':3},{'name':1},{'name':2}]}",
            ),
            (
                "{'mergingIntList':[1,2,3]}",
                "{'$setElementOrder/mergingIntList':[2,1,3]}",
                "{'mergingIntList':[2,1,3]}",
            ),
            ("{}", "{'$setElementOrder/mergingList':[{'name':1}]}", "{}"),
            (
                "{'mergingList':[]}",
                "{'$setElementOrder/mergingList':[]}",
                "{'mergingList':[]}",
            ),
            // What only the object has stays where it was between the others.
            (
                "{'mergingList':[{'name':1},{'name':'live'},{'name':2}]}",
                "{'$setElementOrder/mergingList':[{'name':1},{'name':2},{'name':3}],'mergingList':[{'name':3}]}",
                "{'mergingList':[{'name':1},{'name':'live'},{'name':2},{'name':3}]}",
            ),
            (
                "{'mergingList':[{'name':'live'},{'name':1},{'name':2}]}",
                "{'$setElementOrder/mergingList':[{'name':2},{'name':1}]}",
                "{'mergingList':[{'name':'live'},{'name':2},{'name':1}]}",
            ),
            (
                "{'mergingList':[{'name':1},{'name':2},{'name':'live'}]}",
                "{'$setElementOrder/mergingList':[{'name':2},{'name':1}]}",
                "{'mergingList':[{'name':2},{'name':1},{'name':'live'}]}",
            ),
            (
                "{'mergingIntList':[1,9,2]}",
                "{'$setElementOrder/mergingIntList':[2,1,3],'mergingIntList':[3]}",
                "{'mergingIntList':[9,2,1,3]}",
            ),
            // With what is deleted.
            (
                "{'mergingList':[{'name':1},{'name':2,'other':'b'},{'name':4}]}",
                "{'$setElementOrder/mergingList':[{'name':2},{'name':3}],'mergingList':[{'name':3},{'$patch':'delete','name':1}]}",
                "{'mergingList':[{'name':2,'other':'b'},{'name':3},{'name':4}]}",
            ),
            (
                "{'mergingIntList':[1,2,3]}",
                "{'$setElementOrder/mergingIntList':[3,1],'$deleteFromPrimitiveList/mergingIntList':[2]}",
                "{'mergingIntList':[3,1]}",
            ),
            // Where there was nothing.
            (
                "{}",
                "{'$setElementOrder/mergingList':[{'name':2},{'name':1}],'mergingList':[{'name':2},{'name':1},{'$patch':'delete','name':3}]}",
                "{'mergingList':[{'name':2},{'name':1}]}",
            ),
            // Within one another.
            (
                "{'mergingList':[{'name':1,'mergingList':[{'name':'a'},{'name':'b'}]},{'name':2}]}",
                "{'$setElementOrder/mergingList':[{'name':2},{'name':1}],'mergingList':[{'name':1,'$setElementOrder/mergingList':[{'name':'b'},{'name':'a'}]}]}",
                "{'mergingList':[{'name':2},{'name':1,'mergingList':[{'name':'b'},{'name':'a'}]}]}",
            ),
        ],
    );
}

#[test]
fn only_what_retain_keys_names_stays() {
    check(
        merge_item(),
        &[
            (
                "{'retainKeysMap':{'name':'a','value':'1'}}",
                "{'retainKeysMap':{'$retainKeys':['name','other'],'other':'x'}}",
                "{'retainKeysMap':{'name':'a','other':'x'}}",
            ),
            (
                "{'retainKeysMap':{'name':'a','value':'1'}}",
                "{'retainKeysMap':{'$retainKeys':['name'],'value':null}}",
                "{'retainKeysMap':{'name':'a'}}",
            ),
            (
                "{'retainKeysMap':{'name':'a','value':'1'}}",
                "{'retainKeysMap':{'value':'2'}}",
                "{'retainKeysMap':{'name':'a','value':'2'}}",
            ),
            (
                "{'retainKeysMergingList':[{'name':'a','value':'1'},{'name':'b'}]}",
                "{'$setElementOrder/retainKeysMergingList':[{'name':'a'},{'name':'b'}],'retainKeysMergingList':[{'name':'a','$retainKeys':['name','other'],'other':'x'}]}",
                "{'retainKeysMergingList':[{'name':'a','other':'x'},{'name':'b'}]}",
            ),
            (
                "{'retainKeysMap':{'mergingIntList':[1,2]}}",
                "{'retainKeysMap':{'$retainKeys':['mergingIntList'],'$setElementOrder/mergingIntList':[2],'$deleteFromPrimitiveList/mergingIntList':[1]}}",
                "{'retainKeysMap':{'mergingIntList':[2]}}",
            ),
        ],
    );
    // What kubectl sends when a Deployment's strategy changes from RollingUpdate to Recreate.
    check(
        Schema::of("apps/v1", "Deployment").unwrap(),
        &[(
            "{'spec':{'replicas':2,'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}}}",
            "{'spec':{'strategy':{'$retainKeys':['type'],'type':'Recreate'}}}",
            "{'spec':{'replicas':2,'strategy':{'type':'Recreate'}}}",
        )],
    );
}

#[test]
fn a_pod_is_patched_by_its_names() {
    check(
        pod(),
        &[
            // kubectl set image.
            (
                "{'spec':{'containers':[{'name':'a','image':'x:1','args':['s']},{'name':'b','image':'y'}]}}",
                "{'spec':{'$setElementOrder/containers':[{'name':'a'},{'name':'b'}],'containers':[{'name':'a','image':'x:2'}]}}",
                "{'spec':{'containers':[{'name':'a','image':'x:2','args':['s']},{'name':'b','image':'y'}]}}",
            ),
            // Ports are known by containerPort alone, here; so are environment variables by their names.
            (
                "{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'protocol':'TCP'}],'env':[{'name':'X','value':'1'}]}]}}",
                "{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'name':'http'}],'env':[{'name':'X','$patch':'delete'},{'name':'Y','value':'2'}]}]}}",
                "{'spec':{'containers':[{'name':'a','ports':[{'containerPort':80,'protocol':'TCP','name':'http'}],'env':[{'name':'Y','value':'2'}]}]}}",
            ),
            // A volume's source is replaced by another.
            (
                "{'spec':{'volumes':[{'name':'v','emptyDir':{}}]}}",
                "{'spec':{'$setElementOrder/volumes':[{'name':'v'}],'volumes':[{'$retainKeys':['name','hostPath'],'name':'v','emptyDir':null,'hostPath':{'path':'/tmp'}}]}}",
                "{'spec':{'volumes':[{'name':'v','hostPath':{'path':'/tmp'}}]}}",
            ),
            (
                "{'spec':{'tolerations':[{'key':'a'}]}}",
                "{'spec':{'tolerations':[{'key':'b'}]}}",
                "{'spec':{'tolerations':[{'key':'b'}]}}",
            ),
            (
                "{'metadata':{'finalizers':['a','b'],'labels':{'x':'1'}}}",
                "{'metadata':{'$deleteFromPrimitiveList/finalizers':['a'],'labels':{'x':null,'y':'2'}}}",
                "{'metadata':{'finalizers':['b'],'labels':{'y':'2'}}}",
            ),
            (
                "{'status':{'conditions':[{'type':'Ready','status':'False'},{'type':'Initialized','status':'True'}]}}",
                "{'status':{'conditions':[{'type':'Ready','status':'True'}]}}",
                "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'Initialized','status':'True'}]}}",
            ),
        ],
    );
}

#[test]
fn patches_that_cannot_be_carried_out_say_why() {
    let check = |schema: &Schema, object: &str, patch: &str, says: &str| {
        let error = strategic(schema, &read(object), &read(patch)).unwrap_err();
        assert_eq!(error.to_string(), says, "{object} with {patch}");
        error
    };
    let item = merge_item();
    for (object, patch, says) in [
        (
            "{'mergingList':[{'name':'a'}]}",
            "{'mergingList':[{'value':'b'}]}",
            "map: map[value:b] does not contain declared merge key: name",
        ),
        (
            "{'mergingList':[{'name':'a'}]}",
            "{'mergingList':[{'$patch':'delete','value':'b'}]}",
            "map: map[$patch:delete value:b] does not contain declared merge key: name",
        ),
        (
            "{'mergingList':[{'name':'a'}]}",
            "{'mergingList':[{'$patch':'merge','name':'a'}]}",
            "merging lists cannot yet be specified in the patch",
        ),
        (
            "{'mergingList':[{'name':'a'}]}",
            "{'mergingList':[{'$patch':'x','name':'a'}]}",
            "unknown patch type: x in map: map[$patch:x name:a]",
        ),
        (
            "{'mergingList':[{'name':'a'}]}",
            "{'mergingList':['b']}",
            "list element types are not identical: [[map[name:a]] [b]]",
        ),
        (
            "{'simpleMap':{}}",
            "{'simpleMap':{'$patch':'x'}}",
            "unknown patch type: x in map: map[$patch:x]",
        ),
        (
            "{'retainKeysMap':{'name':'a'}}",
            "{'retainKeysMap':{'$retainKeys':['name'],'value':'x'}}",
            "invalid patch format of retainKeys",
        ),
        (
            "{'retainKeysMap':{'name':'a'}}",
            "{'retainKeysMap':{'$retainKeys':'name'}}",
            "invalid patch format of retainKeys",
        ),
        (
            "{}",
            "{'$setElementOrder':[]}",
            "invalid patch format of setElementOrder list",
        ),
        (
            "{}",
            "{'$deleteFromPrimitiveListing/x':[]}",
            "invalid patch format of primitive list",
        ),
        (
            "{}",
            "{'$setElementOrder/mergingList':'name'}",
            "expected a []interface {}, but received a string",
        ),
        (
            "{'mergingIntList':[1,2,3,4]}",
            "{'$setElementOrder/mergingIntList':[1,2],'mergingIntList':[3]}",
            "The order in patch list:\n[3]\n doesn't match $setElementOrder list:\n[1 2]\n",
        ),
        (
            "{'mergingList':[{'name':1}]}",
            "{'$setElementOrder/mergingList':[{'name':1},{'name':2}],'mergingList':[{'name':2},{'name':1}]}",
            "The order in patch list:\n[map[name:2] map[name:1]]\n doesn't match $setElementOrder list:\n[map[name:1] map[name:2]]\n",
        ),
        (
            "{'mergingList':[{'name':1}]}",
            "{'$setElementOrder/mergingList':[{'nam':1}]}",
            "map: map[nam:1] does not contain declared merge key: name",
        ),
        (
            "{'nope':{}}",
            "{'nope':{'a':1}}",
            "unable to find api field in struct MergeItem for the json field \"nope\"",
        ),
        (
            "{'nope':[1]}",
            "{'nope':[2]}",
            "unable to find api field in struct MergeItem for the json field \"nope\"",
        ),
        (
            "{'name':[1]}",
            "{'name':[2]}",
            "expected slice or array type, but got: struct",
        ),
        (
            "{'simpleMap':{'x':{}}}",
            "{'simpleMap':{'x':{'y':1}}}",
            "merging an object in json but data type is not struct, instead is: map",
        ),
        (
            "{}",
            "[]",
            "json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
    ] {
        let error = check(item, object, patch, says);
        assert!(matches!(error, PatchError::Malformed(_)), "{patch}");
    }
    let error = check(
        item,
        "{'mergingIntList':[[1]]}",
        "{'mergingIntList':[[2]]}",
        "lists of lists are not supported",
    );
    assert!(matches!(error, PatchError::DoesNotApply(_)));
    // The object is whatever somebody stored: nothing in it brings us down.
    assert_eq!(
        strategic(item, &Value::Null, &read("{'name':'a'}")),
        Ok(read("{'name':'a'}"))
    );
}
