use super::*;

fn outcome(value: &str, schema: &str) -> Fit {
    JsonSchema::new(schema).unwrap().check(value).unwrap()
}

fn reason(value: &str, schema: &str) -> String {
    match outcome(value, schema) {
        Fit::Fails(why) => why,
        other => panic!("{value} {schema}: {other:?}"),
    }
}

const PERSON: &str = r##"{"type":"object","required":["name","age"],"additionalProperties":false,
    "properties":{"name":{"type":"string","minLength":1},"age":{"type":"integer","minimum":0},
    "role":{"enum":["admin","user"]},"tags":{"type":"array","items":{"type":"string"},"maxItems":2},
    "boss":{"$ref":"#"}}}"##;

#[test]
fn says_where_and_why_a_value_does_not_fit() {
    for good in [
        r#"{"name":"Ada","age":36}"#,
        r#"{"name":"Ada","age":36.0,"role":"user","tags":["a","b"]}"#,
        r#"{"name":"Ada","age":36,"boss":{"name":"Bob","age":50}}"#,
    ] {
        assert_eq!(outcome(good, PERSON), Fit::Fits, "{good}");
    }
    for (bad, why) in [
        (r#"{"name":"Ada"}"#, "$ lacks the member “age”"),
        (
            r#"{"name":1,"age":1}"#,
            "$.name is of type number, not string",
        ),
        (
            r#"{"name":"","age":1}"#,
            "$.name is \"\", 0 characters, too short: at least 1",
        ),
        (
            r#"{"name":"A","age":-1}"#,
            "$.age is -1, less than the minimum 0",
        ),
        (r#"{"name":"A","age":1.5}"#, "$.age is 1.5, not integer"),
        (
            r#"{"name":"A","age":1,"role":"root"}"#,
            "$.role is \"root\", none of the values allowed: \"admin\", \"user\"",
        ),
        (
            r#"{"name":"A","age":1,"tags":["a","b","c"]}"#,
            "$.tags has too many items: 3, at most 2",
        ),
        (
            r#"{"name":"A","age":1,"tags":[1]}"#,
            "$.tags[0] is of type number, not string",
        ),
        (
            r#"{"name":"A","age":1,"x":1}"#,
            "$.x is not allowed; the members are age, boss, name, role, tags",
        ),
        (
            r#"{"name":"A","age":1,"boss":{"name":"B"}}"#,
            "$.boss lacks the member “age”",
        ),
        ("[]", "$ is of type array, not object"),
    ] {
        assert_eq!(reason(bad, PERSON), why, "{bad}");
    }
}

#[test]
fn holds_values_to_each_keyword() {
    for (schema, good, bad) in [
        (r#"{"type":["string","null"]}"#, "null", "1"),
        (r#"{"type":"STRING"}"#, "\"a\"", "1"),
        (r#"{"type":"string","nullable":true}"#, "null", "1"),
        (r#"{"const":{"a":[1]}}"#, r#"{"a":[1.0]}"#, r#"{"a":[2]}"#),
        (r#"{"exclusiveMinimum":1}"#, "1.0001", "1"),
        (r#"{"minimum":1,"exclusiveMinimum":true}"#, "2", "1"),
        (r#"{"maximum":3}"#, "3", "3.5"),
        (r#"{"exclusiveMaximum":3}"#, "2", "3.0"),
        (r#"{"multipleOf":0.1}"#, "0.3", "0.35"),
        (r#"{"minLength":2.0}"#, "\"éé\"", "\"é\""),
        (r#"{"maxLength":2}"#, "\"éé\"", "\"ééé\""),
        (r#"{"pattern":"^[a-z]+$"}"#, "\"ab\"", "\"a1\""),
        (r#"{"minItems":1}"#, "[1]", "[]"),
        (r#"{"uniqueItems":true}"#, r#"[1,"1",true]"#, "[1,1.0]"),
        (
            r#"{"prefixItems":[true,{"type":"null"}],"items":false}"#,
            "[1,null]",
            "[1,null,2]",
        ),
        (
            r#"{"items":[{"type":"null"}],"additionalItems":false}"#,
            "[null]",
            "[null,1]",
        ),
        (r#"{"contains":{"type":"null"}}"#, "[1,null]", "[1]"),
        (
            r#"{"contains":{"type":"null"},"maxContains":1}"#,
            "[null]",
            "[null,null]",
        ),
        (
            r#"{"minProperties":1,"maxProperties":1}"#,
            r#"{"a":1,"a":2}"#,
            "{}",
        ),
        (
            r#"{"patternProperties":{"^x":{"type":"null"}}}"#,
            r#"{"x":null}"#,
            r#"{"xy":1}"#,
        ),
        (
            r#"{"properties":{"a":true},"patternProperties":{"^x":true},"additionalProperties":{"type":"null"}}"#,
            r#"{"a":1,"x":1,"b":null}"#,
            r#"{"b":1}"#,
        ),
        (
            r#"{"propertyNames":{"maxLength":2}}"#,
            r#"{"ab":1}"#,
            r#"{"abc":1}"#,
        ),
        (
            r#"{"dependentRequired":{"a":["b"]}}"#,
            r#"{"a":1,"b":1}"#,
            r#"{"a":1}"#,
        ),
        (r#"{"dependencies":{"a":["b"]}}"#, "{}", r#"{"a":1}"#),
        (
            r#"{"dependentSchemas":{"a":{"required":["b"]}}}"#,
            "{}",
            r#"{"a":1}"#,
        ),
        (r#"{"allOf":[{"minimum":1},{"maximum":2}]}"#, "1", "3"),
        (
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            "null",
            "1",
        ),
        (r#"{"oneOf":[{"type":"number"},{"minimum":3}]}"#, "1", "5"),
        (r#"{"not":{"type":"null"}}"#, "1", "null"),
        (
            r#"{"if":{"type":"string"},"then":{"minLength":1},"else":{"type":"null"}}"#,
            "null",
            "\"\"",
        ),
        (r#"{"items":false}"#, "[]", "[1]"),
    ] {
        assert_eq!(outcome(good, schema), Fit::Fits, "{schema} {good}");
        assert!(
            matches!(outcome(bad, schema), Fit::Fails(_)),
            "{schema} {bad}"
        );
    }
}

#[test]
fn a_keyword_asks_nothing_of_values_of_other_types() {
    for schema in [
        r#"{"minimum":3,"multipleOf":7,"minLength":3,"pattern":"x"}"#,
        r#"{"minItems":3,"items":false,"contains":false,"uniqueItems":true}"#,
        r#"{"required":["a"],"additionalProperties":false,"minProperties":2}"#,
        r#"{"title":"T","description":"d","format":"email","default":1,"x-unknown":[{}]}"#,
        r#"{"contains":false,"minContains":0}"#,
        "{}",
        "true",
    ] {
        assert_eq!(outcome("null", schema), Fit::Fits, "{schema}");
    }
    assert_eq!(reason("null", "false"), "$ is not allowed");
}

#[test]
fn follows_references_within_the_schema() {
    for schema in [
        r##"{"$defs":{"a b":{"type":"null"}},"$ref":"#/$defs/a%20b"}"##,
        r##"{"definitions":{"a/b":{"type":"null"}},"$ref":"#/definitions/a~1b"}"##,
        r##"{"anyOf":[{"type":"null"},{"$ref":"#/anyOf/0"}]}"##,
        r##"{"$defs":{"x":{"$anchor":"here","type":"null"}},"$ref":"#here"}"##,
        r#"{"$id":"https://example.com/s","$defs":{"x":{"type":"null"}},
            "$ref":"https://example.com/s#/$defs/x"}"#,
    ] {
        assert_eq!(outcome("null", schema), Fit::Fits, "{schema}");
        assert!(matches!(outcome("1", schema), Fit::Fails(_)), "{schema}");
    }
    // What stands beside a reference holds too.
    let schema = r##"{"$defs":{"n":{"type":"number"}},"$ref":"#/$defs/n","maximum":3}"##;
    assert_eq!(reason("4", schema), "$ is 4, more than the maximum 3");
    let tree = r##"{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},
        "required":["next"]}"##;
    let deep = |end: &str| format!("{}{end}{}", r#"{"next":"#.repeat(100), "}".repeat(100));
    assert_eq!(outcome(&deep("null"), tree), Fit::Fits);
    assert!(reason(&deep("1"), tree).contains('…'));
}

#[test]
fn says_of_the_nearest_form_why_it_is_not_fitted() {
    let schema = r#"{"anyOf":[{"type":"null"},{"type":"object","required":["a"],
        "properties":{"a":{"type":"integer"}}},{"type":"string"}]}"#;
    assert_eq!(
        reason(r#"{"a":"x"}"#, schema),
        "$.a is of type string, not integer"
    );
    assert_eq!(
        reason("{}", schema),
        "$ fits none of the forms allowed: it lacks the member “a”"
    );
    assert!(reason("3", schema).starts_with("$ fits none of the forms allowed: it is of type"));
}

#[test]
fn what_cannot_be_decided_is_no_fit_and_no_failure() {
    for schema in [
        r##"{"$ref":"#"}"##,
        r##"{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}"##,
        r#"{"$ref":"https://example.com/a"}"#,
        r##"{"$ref":"#/nowhere"}"##,
        r#"{"type":"document"}"#,
        r#"{"unevaluatedProperties":false}"#,
        r#"{"not":{"unevaluatedItems":false}}"#,
        r#"{"multipleOf":0}"#,
        r#""a schema""#,
        "3",
    ] {
        assert!(matches!(outcome("1", schema), Fit::Unknown(_)), "{schema}");
    }
    assert!(matches!(
        outcome("\"a\"", r#"{"pattern":"("}"#),
        Fit::Unknown(_)
    ));
    // What can be decided is.
    let schema = r#"{"pattern":"(","maxLength":1}"#;
    assert!(matches!(outcome("\"ab\"", schema), Fit::Fails(_)));
    let schema = r#"{"anyOf":[{"type":"document"},{"type":"number"}]}"#;
    assert_eq!(outcome("1", schema), Fit::Fits);
    assert!(matches!(outcome("null", schema), Fit::Unknown(_)));
}

#[test]
fn long_values_are_checked_whole_and_hostile_ones_in_bounded_time() {
    let numbers = format!("[{}1]", "1,".repeat(500_000));
    assert_eq!(
        outcome(&numbers, r#"{"items":{"type":"integer"}}"#),
        Fit::Fits
    );
    let members: Vec<String> = (0..50_000).map(|index| format!("\"m{index}\":1")).collect();
    let members = format!("{{{}}}", members.join(","));
    let schema = r#"{"required":["m49999"],"properties":{"m3":{"type":"null"}}}"#;
    assert_eq!(reason(&members, schema), "$.m3 is of type number, not null");
    let distinct: Vec<String> = (0..100_000).map(|index| index.to_string()).collect();
    let distinct = format!("[{}]", distinct.join(","));
    assert_eq!(outcome(&distinct, r#"{"uniqueItems":true}"#), Fit::Fits);
    // Each level doubles the ways: 2¹⁰⁰ of them.
    let doubling =
        r##"{"properties":{"a":{"anyOf":[{"$ref":"#"},{"$ref":"#"}]}},"type":"object"}"##;
    let nested = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
    assert!(matches!(outcome(&nested, doubling), Fit::Unknown(_)));
}

#[test]
fn the_deepest_check_fits_a_small_stack() {
    // Without optimisation a call takes several times as much.
    let size = if cfg!(debug_assertions) {
        4 << 20
    } else {
        384 << 10
    };
    let checked = std::thread::Builder::new()
        .stack_size(size)
        .spawn(|| outcome("1", r##"{"allOf":[{"anyOf":[{"$ref":"#"}]}]}"##));
    let outcome = checked.unwrap().join().unwrap();
    assert!(matches!(outcome, Fit::Unknown(_)));
}

#[test]
fn reasons_stay_short_whatever_they_quote() {
    let long = "é\n".repeat(100_000);
    let text = format!("{{{long:?}:{long:?}}}");
    for schema in [
        r#"{"additionalProperties":{"type":"null"}}"#,
        r#"{"additionalProperties":{"const":1}}"#,
        r#"{"additionalProperties":false}"#,
        r#"{"additionalProperties":{"pattern":"^x$"}}"#,
        r#"{"propertyNames":{"const":"x"}}"#,
    ] {
        let reason = reason(&text, schema);
        assert!(reason.chars().count() < 250, "{reason}");
        assert!(!reason.contains('\n'), "{reason}");
    }
}

#[test]
fn a_schema_that_is_no_json_is_an_error() {
    assert!(JsonSchema::new("{").is_err());
    assert!(JsonSchema::new(&"[".repeat(1_000)).is_err());
}
