use proptest::prelude::*;

use super::{CodeMetrics, LANGUAGES, Language, find, measure, measure_found};

fn of(text: &str) -> CodeMetrics {
    measure_found(text, &find(text)).unwrap()
}

fn has(metrics: &CodeMetrics, construct: &str) -> bool {
    metrics.construct_names().any(|name| name == construct)
}

#[test]
fn python_is_counted_exactly() {
    let code = r#"
# a remark
import re

class A(Base):
    """Text with if and for.

    Two more lines."""

    async def f(self, n: int) -> str:
        if n > 1 and n < 9 or not n:  # if
            for i in range(n):
                while True:
                    yield f"if {i}"
        elif n:
            return [x for x in y if x]
        else:
            try:
                return self.f(n - 1)
            except ValueError:
                pass
        match n:
            case 1: pass
            case _: pass
        return "a" if n else lambda if_: 'b'
"#;
    let found = measure(code, Language::Python);
    assert_eq!((found.functions, found.classes), (1, 1));
    // if, and, or, elif, the comprehension's if, except, two cases, the ternary.
    assert_eq!(found.branches, 9);
    assert_eq!(found.loops, 3);
    assert_eq!(found.cyclomatic, 13);
    assert_eq!(found.nesting, 5);
    assert_eq!(found.comment_lines, 4);
    assert_eq!(found.lines, 18);
    for construct in [
        "async",
        "recursion",
        "error handling",
        "closures",
        "generators",
        "comprehensions",
    ] {
        assert!(has(&found, construct), "{construct}");
    }
    assert!(!has(&found, "joins"));
}

#[test]
fn javascript_has_methods_arrows_templates_and_patterns() {
    let code = "class A { constructor(x) { this.x = x } async go(a, b = {}) { if (a ? b : 1) { for (const c of a) { f(c) } } } }\n\
        const g = (a) => { return `x${a.map(y => y || 1)}}` + /if (a) {/g.test(b) }\n\
        function fact(n) { return n < 2 ? 1 : n * fact(n - 1) }\n\
        // if (x) {\n p.catch(e => {})";
    let found = measure(code, Language::JavaScript);
    // Two methods, three arrows, one function.
    assert_eq!(found.functions, 6);
    assert_eq!(found.classes, 1);
    assert_eq!((found.branches, found.loops), (4, 1));
    assert_eq!(found.nesting, 4);
    assert_eq!((found.lines, found.comment_lines), (4, 1));
    assert!(has(&found, "recursion") && has(&found, "regular expressions") && has(&found, "async"));
}

#[test]
fn other_languages_find_their_functions() {
    let cases: [(Language, &str, usize); 10] = [
        (
            Language::Java,
            "class A { A(int x) { } int f(List<B> b) throws E, F { if (x) { } return new G() { void h() { } }; } }",
            3,
        ),
        (
            Language::C,
            "static int f(int a, char *b) { for (;;) { g(a); } }\nint main(void)\n{\n}",
            2,
        ),
        (
            Language::Cpp,
            "A::A(int a) : b(a), c(1) { }\nauto f() const noexcept -> int { while (x) {} }",
            2,
        ),
        (
            Language::CSharp,
            "public async Task<int> F(int a) { foreach (var x in y) { } using (z) { } }",
            1,
        ),
        (
            Language::Go,
            "func (s *S) Get(id string) (*I, error) { go func() { }() }",
            2,
        ),
        (
            Language::Rust,
            "impl<'a> A for B<'a> { fn f<T: C>(&'a self) -> char { 'x' } }\nfn g() {}",
            2,
        ),
        (
            Language::Php,
            "<?php function f($a) { return 1; } class B { public function g() { } }",
            2,
        ),
        (
            Language::Ruby,
            "def a(b)\n  return if b\n  c.each do |d|\n    e\n  end\nend",
            1,
        ),
        (
            Language::Shell,
            "a() {\n  if [ -n \"$1\" ]; then echo 'for if'; fi\n}\nfunction b { :; }",
            2,
        ),
        (
            Language::Kotlin,
            "fun f(a: Int): Int = if (a > 1) f(a - 1) else 0",
            1,
        ),
    ];
    for (language, code, functions) in cases {
        let found = measure(code, language);
        assert_eq!(found.functions, functions, "{language:?}: {found:?}");
    }
}

#[test]
fn blocks_of_words_nest_and_close() {
    let ruby = "class A\n  def f\n    while a do\n      b if c\n      d.each do |e|\n        g\n      end\n    end\n  end\n  def h\n  end\nend";
    assert_eq!(measure(ruby, Language::Ruby).nesting, 4);
    let shell = "for a in b; do\n  if x; then\n    y\n  fi\n  if z; then w; fi\ndone";
    let found = measure(shell, Language::Shell);
    assert_eq!((found.nesting, found.branches, found.loops), (2, 2, 1));
}

#[test]
fn queries_count_their_joins_and_inner_queries() {
    let found = of(
        "Why slow?\nSELECT a.x, COUNT(*) FROM a LEFT JOIN b ON a.i = b.i JOIN c USING (i)\n\
        WHERE a.y IN (SELECT y FROM d WHERE z > (SELECT AVG(z) FROM d)) GROUP BY a.x;",
    );
    assert_eq!(found.language, Language::Sql);
    assert_eq!((found.joins, found.subqueries, found.nesting), (2, 2, 3));
    assert!(has(&found, "aggregation") && !has(&found, "window functions"));
}

#[test]
fn values_and_tags_have_depth() {
    assert_eq!(
        measure(r#"{"a": [1, {"b": 2}], "c": "[[["}"#, Language::Json).nesting,
        3
    );
    assert_eq!(
        measure("a:\n  b:\n    - c: 1\n  d: 2\n", Language::Yaml).nesting,
        3
    );
    let html = "<div><p>It's a <b>c</b><br></p></div><p>d</p>";
    assert_eq!(measure(html, Language::Html).nesting, 3);
}

#[test]
fn languages_are_guessed() {
    let cases = [
        (Language::Python, "def f(self):\n    return None"),
        (Language::JavaScript, "const a = () => { console.log(1); };"),
        (
            Language::TypeScript,
            "function f(a: string): number { return a.length; }",
        ),
        (
            Language::Java,
            "public static void main(String[] args) { System.out.println(1); }",
        ),
        (
            Language::C,
            "#include <stdio.h>\nint main(void) { printf(\"x\"); }",
        ),
        (Language::Cpp, "#include <vector>\nstd::vector<int> v;"),
        (
            Language::CSharp,
            "using System;\npublic int A { get; set; }",
        ),
        (
            Language::Go,
            "func f(a int) error {\n  x := 1\n  return nil\n}",
        ),
        (
            Language::Rust,
            "fn f(a: &mut Vec<u8>) -> Option<u8> { let mut x = 1; None }",
        ),
        (Language::Php, "<?php echo $a; ?>"),
        (Language::Sql, "select a from b where c = 1"),
        (Language::Shell, "#!/bin/sh\nls"),
        (Language::Json, "{\"a\": 1}"),
        (Language::Css, "a { color: red; margin: 0; }"),
        (Language::Html, "<div class=\"a\"><p>b</p></div>"),
        (Language::Kotlin, "fun f(): Int { val x = listOf(1) }"),
        (Language::Ruby, "def a\n  puts 1\nend\n"),
        (Language::Other, "blorp a b"),
    ];
    for (language, code) in cases {
        assert_eq!(Language::guess(code), language, "{code}");
    }
}

#[test]
fn broken_code_is_measured_all_the_same() {
    let found = measure(
        "def f(:\n  x = 'never closed\n  if (((:\n\"\"\"and so on",
        Language::Python,
    );
    assert_eq!(found.functions, 1);
    let found = measure(
        "if x; then echo it's; for a in b; do c; done",
        Language::Shell,
    );
    assert!(found.lines == 1);
}

proptest! {
    #[test]
    fn any_text_in_any_language_is_survived(text in "\\PC{0,200}", place in 0usize..20) {
        let found = measure(&text, LANGUAGES[place]);
        prop_assert!(found.cyclomatic == 1 + found.branches + found.loops);
        prop_assert!(found.lines + found.comment_lines <= text.lines().count().max(1));
    }

    #[test]
    fn any_signs_in_any_language_are_survived(
        text in "[ \\t\\n\\\\(){}\\[\\];:=a-z`'\"#*/<>$?&|é0-9.,-]{0,400}", place in 0usize..20
    ) {
        let found = measure(&text, LANGUAGES[place]);
        prop_assert!(found.lines + found.comment_lines <= text.lines().count().max(1));
        prop_assert!(found.nesting <= text.len() + 1);
        let mut last = 0;
        for segment in find(&text) {
            prop_assert!(segment.start >= last && segment.end > segment.start);
            prop_assert!(text.get(segment.start..segment.end).is_some());
            last = segment.end;
        }
    }
}
