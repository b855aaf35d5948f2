//! A Rust source file as the checks see it: its tokens with their lines, its functions, and which lines are test code.
//!
//! Lexed, not parsed: comments and strings can never be mistaken for code, and no grammar has to be kept up with.

use crate::process;
use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// One source file of the workspace.
pub(crate) struct SourceFile {
    /// Relative to the top of the workspace, with `/` between the parts.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) functions: Vec<Function>,
    /// The whole file is test code: it stands under `tests/`, `examples/` or `benches/`, or in a `#[cfg(test)] mod`.
    pub(crate) all_test: bool,
    test_items: Vec<RangeInclusive<usize>>,
    test_modules: Vec<String>,
}

/// An identifier, a literal, a delimiter or one character of punctuation.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A function with a body.
pub(crate) struct Function {
    pub(crate) name: String,
    /// From the line of `fn` to the line of its closing brace.
    pub(crate) lines: RangeInclusive<usize>,
}

impl SourceFile {
    pub(crate) fn parse(path: &str, text: &str) -> Result<SourceFile> {
        let stream: TokenStream =
            text.parse().map_err(|error| anyhow!("{path}: this is not Rust that can be read: {error}"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        let functions = find_functions(&tokens);
        let (test_items, test_modules) = find_test_items(&tokens);
        Ok(SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
            all_test: is_test_path(path),
            tokens,
            functions,
            test_items,
            test_modules,
        })
    }

    /// Whether this line (counted from 1) is test code.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        self.all_test || self.test_items.iter().any(|item| item.contains(&line))
    }

    /// The lines on which these tokens follow each other, test code left out.
    pub(crate) fn code_lines_with<'a>(&'a self, pattern: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        self.lines_with(pattern).filter(|line| !self.is_test(*line))
    }

    /// The lines on which these tokens follow each other, anywhere in the file.
    pub(crate) fn lines_with<'a>(&'a self, pattern: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
        self.tokens
            .windows(pattern.len())
            .filter(move |window| window.iter().zip(pattern).all(|(token, text)| token.text == *text))
            .map(|window| window[0].line)
    }

    /// The function a line stands in, or the one whose documentation and attributes it belongs to.
    pub(crate) fn function_at(&self, line: usize) -> Option<&Function> {
        let enclosing = self.functions.iter().rev().find(|function| function.lines.contains(&line));
        enclosing.or_else(|| {
            let head = |text: &&str| text.trim().is_empty() || text.trim().starts_with(['/', '#', ')', ']']);
            let above = self.text.lines().skip(line - 1).take_while(head).count();
            self.functions.iter().find(|function| *function.lines.start() == line + above)
        })
    }
}

/// Every Rust file of the workspace, in the order of their paths.
pub(crate) fn workspace_files() -> Result<Vec<SourceFile>> {
    let root = process::root();
    let mut paths = Vec::new();
    for folder in ["crates", "xtask", "benches"] {
        collect(&root.join(folder), "rs", &mut paths)?;
    }
    let mut files = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.push(SourceFile::parse(&relative(&root, &path), &text)?);
    }
    mark_test_modules(&mut files);
    Ok(files)
}

/// Every file below `folder` whose name ends in `.extension`, sorted; a folder that is not there holds none.
pub(crate) fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            let generated = path.file_name().is_some_and(|name| name == "target" || name == "node_modules");
            if !generated {
                collect(&path, extension, found)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// A path below `root` with `/` between its parts.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(root).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/').rev().skip(1);
    parts.any(|part| matches!(part, "tests" | "examples" | "benches")) || path.ends_with("/tests.rs")
}

/// A `#[cfg(test)] mod name;` makes test code of `name.rs` and of everything below `name/`.
fn mark_test_modules(files: &mut [SourceFile]) {
    let mut stems = Vec::new();
    for file in files.iter() {
        let stem = file.path.trim_end_matches(".rs");
        let own_folder = ["mod", "lib", "main"].iter().any(|name| stem.ends_with(&format!("/{name}")));
        let folder = if own_folder { stem.rsplit_once('/').map_or("", |(folder, _)| folder) } else { stem };
        stems.extend(file.test_modules.iter().map(|module| format!("{folder}/{module}")));
    }
    for file in files {
        let below = |stem: &String| {
            file.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        };
        file.all_test |= stems.iter().any(below);
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(Token { text: open.to_owned(), line });
                flatten(group.stream(), tokens);
                tokens.push(Token { text: close.to_owned(), line: group.span_close().end().line });
            }
            other => tokens.push(Token { text: other.to_string(), line }),
        }
    }
}

fn find_functions(tokens: &[Token]) -> Vec<Function> {
    let mut functions = Vec::new();
    for (index, pair) in tokens.windows(2).enumerate() {
        let names_one = pair[1].text.starts_with(|first: char| first.is_alphabetic() || first == '_');
        if pair[0].text == "fn" && names_one {
            let end = item_end(tokens, index);
            if end.text == "}" {
                let lines = pair[0].line..=end.line;
                functions.push(Function { name: pair[1].text.clone(), lines });
            }
        }
    }
    functions
}

/// The lines of every item under `#[cfg(test)]` or `#[test]`, and the names of the modules among them that are files.
fn find_test_items(tokens: &[Token]) -> (Vec<RangeInclusive<usize>>, Vec<String>) {
    let mut items = Vec::new();
    let mut modules = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if token.text != "#" || tokens.get(index + 1).is_none_or(|next| next.text != "[") {
            continue;
        }
        let attribute = tokens[index + 2..].iter().take_while(|token| token.text != "]");
        let words: Vec<&str> = attribute.map(|token| token.text.as_str()).collect();
        let is_test = words.last() == Some(&"test") // #[test], #[tokio::test]
            || (words.first() == Some(&"cfg") && words.contains(&"test") && !words.contains(&"not"));
        if !is_test {
            continue;
        }
        let item = index + 2 + words.len() + 1;
        items.push(token.line..=item_end(tokens, item).line);
        if let [first, name, end, ..] = &tokens[item.min(tokens.len())..]
            && first.text == "mod"
            && end.text == ";"
        {
            modules.push(name.text.clone());
        }
    }
    (items, modules)
}

/// The token that ends the item which starts at `start`: its closing brace or its semicolon.
fn item_end(tokens: &[Token], start: usize) -> &Token {
    let mut depth = 0_i32;
    for token in &tokens[start..] {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth < 0 || (depth == 0 && matches!(token.text.as_str(), "}" | ";")) {
            return token;
        }
    }
    &tokens[tokens.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"//! A module.

/// Says `Instant::now()` in a comment.
fn code(text: [u8; 2]) -> u8 {
    let _ = "Instant::now()";
    clock::Instant::now(); 1
}

#[cfg(test)]
mod tests {
    /// A tag.
    #[test]
    fn proves() {
        Instant::now();
    }
}
#[cfg(test)]
mod simulation;
"#;

    #[test]
    fn comments_and_strings_are_not_code_and_test_items_are_told_apart() {
        let file = SourceFile::parse("crates/a/src/b.rs", SAMPLE).unwrap();
        let pattern = ["Instant", ":", ":", "now"];
        assert_eq!(file.lines_with(&pattern).collect::<Vec<_>>(), [6, 14]);
        assert_eq!(file.code_lines_with(&pattern).collect::<Vec<_>>(), [6]);
        assert!(!file.is_test(7) && file.is_test(11) && file.is_test(18));
    }

    #[test]
    fn functions_carry_their_lines_and_own_what_stands_above_them() {
        let file = SourceFile::parse("crates/a/src/b.rs", SAMPLE).unwrap();
        let found: Vec<_> = file.functions.iter().map(|f| (f.name.as_str(), f.lines.clone())).collect();
        assert_eq!(found, [("code", 4..=7), ("proves", 13..=15)]);
        assert_eq!(file.function_at(3).unwrap().name, "code");
        assert_eq!(file.function_at(11).unwrap().name, "proves");
        assert_eq!(file.function_at(14).unwrap().name, "proves");
        assert!(file.function_at(17).is_none());
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_test_code() {
        let mut files: Vec<_> = [
            ("crates/a/src/b.rs", SAMPLE),
            ("crates/a/src/b/simulation.rs", ""),
            ("crates/a/src/b/simulation/world.rs", ""),
            ("crates/a/src/b/simulation_seed.rs", ""),
            ("crates/a/tests/it/main.rs", ""),
        ]
        .into_iter()
        .map(|(path, text)| SourceFile::parse(path, text).unwrap())
        .collect();
        mark_test_modules(&mut files);
        assert_eq!(files.iter().map(|f| f.all_test).collect::<Vec<_>>(), [false, true, true, false, true]);
    }
}
