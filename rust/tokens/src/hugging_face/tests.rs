//! What is ours in reading a `tokenizer.json`; that its tokens are right is tested from Python,
//! beside Hugging Face's own library.

use super::{Tokenizer, TokenizerError};

/// A model of single characters, so that each piece shows as its characters.
fn file(extra: &str) -> String {
    format!(
        r#"{{"version": "1.0", {extra}
            "model": {{"type": "BPE", "vocab": {{"a": 0, "b": 1, "ab": 2, "Ġ": 3, "x": 4, "?": 5}},
                       "merges": ["a b"], "unk_token": "?"}}}}"#
    )
}

fn tokenizer(extra: &str) -> Tokenizer {
    Tokenizer::from_json(file(extra).as_bytes()).unwrap()
}

/// Takes exponentially many steps on `aaa…` without a `c`.
const RUNAWAY: &str = r#"{"Regex": "(?:(?:a(?=.))+)+c"}"#;

#[test]
fn a_pattern_that_gives_up_is_an_error_and_not_one_long_piece() {
    let split = format!(
        r#""pre_tokenizer": {{"type": "Split", "pattern": {RUNAWAY}, "behavior": "Isolated", "invert": false}},"#
    );
    let text = "a".repeat(40);
    let error = tokenizer(&split).count(&text).unwrap_err();
    assert!(matches!(error, TokenizerError::Text(_)), "{error}");
    assert!(error.to_string().contains("acktrack"), "{error}");
    let nested = format!(
        r#""pre_tokenizer": {{"type": "Sequence", "pretokenizers": [{}]}},"#,
        split
            .trim_start_matches(r#""pre_tokenizer": "#)
            .trim_end_matches(',')
    );
    assert!(tokenizer(&nested).count(&text).is_err());
}

#[test]
fn a_normalizer_that_gives_up_is_an_error_once() {
    let replace = format!(
        r#""normalizer": {{"type": "Sequence", "normalizers": [
            {{"type": "Replace", "pattern": {RUNAWAY}, "content": "b"}}]}},"#
    );
    let tokenizer = tokenizer(&replace);
    assert!(tokenizer.count(&"a".repeat(40)).is_err());
    assert_eq!(tokenizer.count("aac").unwrap(), 1);
}

#[test]
fn an_unknown_step_or_a_broken_pattern_is_named() {
    for (extra, named) in [
        (r#""pre_tokenizer": {"type": "Telepathy"},"#, "Telepathy"),
        (
            r#""pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": false},"#,
            "(a",
        ),
        (
            r#""normalizer": {"type": "Replace", "pattern": {"Regex": "(b"}, "content": ""},"#,
            "(b",
        ),
    ] {
        let Err(TokenizerError::Format(error)) = Tokenizer::from_json(file(extra).as_bytes())
        else {
            panic!("{extra} was read");
        };
        assert!(error.contains(named), "{error}");
    }
    assert!(Tokenizer::from_json(b"{}").is_err());
    assert!(Tokenizer::from_json(b"\xff").is_err());
}

#[test]
fn byte_level_puts_its_space_before_the_text_once() {
    for (prefix, tokens) in [("true", vec![3, 2, 3, 0]), ("false", vec![2, 3, 0])] {
        let step = format!(
            r#""pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": {prefix}, "trim_offsets": true}},"#
        );
        assert_eq!(tokenizer(&step).encode("ab a").unwrap(), tokens);
    }
}

#[test]
fn truncation_padding_and_tokens_around_the_text_are_left_out() {
    let extra = r#"
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 5, "pad_type_id": 0, "pad_token": "?"},
        "added_tokens": [{"id": 4, "content": "x", "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"x": {"id": "x", "ids": [4], "tokens": ["x"]}}},"#;
    let tokenizer = tokenizer(extra);
    assert_eq!(tokenizer.encode("abxaba").unwrap(), [2, 4, 2, 0]);
    assert!(tokenizer.names_a_special_token("abx"));
    assert!(!tokenizer.names_a_special_token("ab"));
}
