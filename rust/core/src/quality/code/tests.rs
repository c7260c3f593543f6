use super::*;
use crate::quality::check::Verdict;

fn verdict(language: &str, body: &str) -> Verdict {
    let text = format!("Here it is:\n```{language}\n{body}\n```\nDone.");
    check(&Answer::new(&text), "", false).verdict
}

#[test]
fn fails_code_that_does_not_parse() {
    for (language, body) in [
        ("python", "def f(x:\n    return x + 1"),
        ("python", "print('hello)"),
        ("python", "for i in range(3)\n    print(i)"),
        ("py", "x = [1, 2\ny = 3"),
        ("python", "def f(x):\nreturn x"),
        ("python", "def f(x):\n    y = x\n   return y"),
        ("javascript", "function f(x) {\n  return x + ;\n}"),
        ("js", "const a = [1, 2;\nconsole.log(a);"),
        ("sql", "SELECT name FROM WHERE id = 3"),
        ("sql", "SELECT (a + b FROM t"),
        ("sql", "SELECT a FROM t WHERE name = 'Ann"),
        ("sql", "SELECT a FROM t WHERE ORDER BY a;"),
        ("sql", "SELECT a FROM t WHERE a = 1 AND;"),
        ("sql", "SELECT a FROM t JOIN u ON WHERE a = 1"),
        ("sql", "INSERT INTO t (a, b)) VALUES (1, 2);"),
        ("json", "{\"a\": 1,}"),
        ("json", "{\"a\": [1, 2}"),
    ] {
        assert_eq!(
            verdict(language, body),
            Verdict::Failed,
            "{language}: {body}"
        );
    }
}

#[test]
fn passes_code_that_parses() {
    for (language, body) in [
        ("python", "def f(x):\n    return x + 1\n\nprint(f(2))"),
        (
            "python",
            "async def g():\n    async with a as b, c as d:\n        yield (await b)[1:2, ...]",
        ),
        (
            "python",
            "match x:\n    case {'a': 1, **rest} if rest:\n        print(f'{x!r:>{10}}')",
        ),
        ("python", "print 'old style'"),
        ("python", "def f(x):"),
        (
            "javascript",
            "const f = async (x) => ({ ...x, y: x?.y ?? 1 });",
        ),
        (
            "jsx",
            "export default () => <div className=\"a\">{x}</div>;",
        ),
        (
            "sql",
            "WITH a AS (SELECT 1 AS x) SELECT x, COUNT(*) OVER (PARTITION BY x) FROM a LIMIT 3;",
        ),
        ("sql", "SELECT TOP 5 [name] FROM dbo.users WHERE id = @id;"),
        ("sql", "SELECT data->>'name' FROM t WHERE x::int = 1;"),
        (
            "sql",
            "SELECT EXTRACT(YEAR FROM d) -- it's (a remark\nFROM t ORDER BY 1 DESC;",
        ),
        (
            "sql",
            "SELECT 'it''s' FROM \"order\" WHERE a IS DISTINCT FROM b;\nDELETE FROM t;",
        ),
        (
            "sql",
            "UPDATE t SET a = (SELECT MAX(b) FROM u) WHERE c >= 3 AND d <> 4",
        ),
        ("json", "{\"a\": [1, 2.5e3, null, \"\\u00e9\"]}"),
    ] {
        assert_eq!(
            verdict(language, body),
            Verdict::Passed,
            "{language}: {body}"
        );
    }
}

#[test]
fn pieces_of_programs_are_tried_as_what_they_are() {
    for (language, body) in [
        ("python", "    x = 1\n    return x"),
        (
            "javascript",
            "render() { return 1; }\nget x() { return 2; }",
        ),
        ("javascript", "{ \"a\": 1, b: [2] }"),
    ] {
        assert_eq!(
            verdict(language, body),
            Verdict::Passed,
            "{language}: {body}"
        );
    }
}

#[test]
fn what_was_not_meant_to_run_is_not_judged() {
    for (language, body) in [
        ("", "def f(x:"),
        ("text", "for for for ((("),
        ("pseudocode", "while not done do"),
        ("python", ">>> f(2)\n3"),
        ("python", "pip install requests"),
        ("python", "def f(x):\n    ... rest of the code ..."),
        ("python", "$ python run.py"),
        (
            "python",
            "Traceback (most recent call last):\n  File \"a.py\"",
        ),
        ("python", "else:\n    x = 1"),
        ("python", "@decorated(1"),
        ("javascript", "const key = <your api key>;"),
        (
            "javascript",
            "interface A { b: string }\nconst x: number = = 3;",
        ),
        ("sql", "SELECT a FROM t WHERE x = $1 AND"),
        ("sql", "MERGE INTO t USING u ON ( WHEN"),
        ("javascript", "- const a = 1;\n+ const a = 2;\n  f(a"),
        (
            "sql",
            "DELIMITER //\nCREATE PROCEDURE p() BEGIN SELECT 1; END //",
        ),
        ("sql", "SELECT * FROM <table_name> WHERE x ="),
        ("json", "{\n  \"a\": 1, // the first\n}"),
        ("json", "\"a\": 1,\n\"b\": 2"),
        ("json", "{\"a\": ...}"),
    ] {
        assert_eq!(
            verdict(language, body),
            Verdict::NotApplicable,
            "{language}: {body}"
        );
    }
    let open = check(&Answer::new("```python\ndef f(x:"), "", false);
    assert_eq!(
        open.verdict,
        Verdict::NotApplicable,
        "`truncated` speaks of open blocks"
    );
}

#[test]
fn an_answer_that_is_all_code_is_judged_in_the_language_asked_for() {
    let question = "Write a Python function that adds two numbers.";
    let judge = |text: &str, question: &str| check(&Answer::new(text), question, true).verdict;
    assert_eq!(
        judge("def add(a, b:\n    return a + b", question),
        Verdict::Failed
    );
    assert_eq!(
        judge("def add(a, b):\n    return a + b", question),
        Verdict::Passed
    );
    let prose = "def add(a, b): is how you begin, and then you return the sum of both.";
    assert_eq!(judge(prose, question), Verdict::NotApplicable);
    let two = "Translate this Python function to Java.";
    assert_eq!(
        judge("def add(a, b:\n    return a + b", two),
        Verdict::NotApplicable
    );
}

#[test]
fn code_that_the_question_shows_is_quoted() {
    let text = "The mark is missing:\n```python\nprint(x + \"2)\n```\n";
    let judge = |question: &str| check(&Answer::new(text), question, false).verdict;
    assert_eq!(
        judge("What is wrong with print(x + \"2)?"),
        Verdict::NotApplicable
    );
    assert_eq!(judge("What is wrong?"), Verdict::Failed);
}

#[test]
fn says_where() {
    let text = "```python\nx = 1\ny = 2\nz = (3\n```";
    let found = check(&Answer::new(text), "", false);
    assert!(
        found.reason.contains("Python") && found.reason.contains("line"),
        "{}",
        found.reason
    );
}

#[test]
fn hostile_code_takes_linear_time() {
    for language in ["python", "js", "sql", "json"] {
        for piece in [
            "(", "[", "{", "a ", "\"", "'", "<", "\n ", "if x:\n", "= ", "东", "/*", "select ",
            "\\", "`", "- ",
        ] {
            let _ = verdict(language, &piece.repeat(3_000 / piece.len()));
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_block_can_be_parsed(body in ".{0,200}", index in 0_usize..4) {
        let language = ["python", "js", "sql", "json"][index];
        let _ = verdict(language, &body);
    }
}
