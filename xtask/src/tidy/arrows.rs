//! The dependency arrows: which of our crates may use which, and what no crate of a layer may ever depend on.

use super::Finding;
use crate::source;
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// A crate, the ones of ours that it may use, and the third-party crates that have no place in it.
struct Layer {
    name: &'static str,
    may_use: &'static [&'static str],
    never: &'static [&'static str],
}

/// Beside all layers: any test may use it, and nothing that ships.
const FOR_TESTS: &str = "test-certificates";

/// The table of the design, lowest layer first. `xtask` and `mqtt-benches` stand outside it: nothing may use them.
const LAYERS: &[Layer] = &[
    Layer {
        name: "mqtt-codec",
        may_use: &[],
        never: &["tokio", "parking_lot", "tracing", "serde", "toml", "anyhow", "axum", "rustls"],
    },
    Layer {
        name: "mqtt-router",
        may_use: &["mqtt-codec"],
        never: &["tokio", "serde", "toml", "anyhow", "axum", "rustls"],
    },
    Layer {
        name: "mqtt-broker",
        may_use: &["mqtt-router", "mqtt-codec"],
        never: &["axum", "hyper", "reqwest", "toml", "serde", "serde_json", "fjall", "anyhow", "clap"],
    },
    Layer {
        name: "mqtt-store",
        may_use: &["mqtt-broker", "mqtt-codec"],
        never: &["tokio", "axum", "hyper", "toml", "anyhow", "clap"],
    },
    Layer {
        name: "mqtt-access",
        may_use: &["mqtt-broker", "mqtt-codec"],
        never: &["axum", "fjall", "toml", "anyhow", "clap"],
    },
    Layer {
        name: "mqtt-admin",
        may_use: &["mqtt-broker", "mqtt-codec"],
        never: &["fjall", "anyhow", "clap"],
    },
    Layer {
        name: "mqtt-bench",
        may_use: &["mqtt-broker", "mqtt-codec"],
        never: &["fjall", "axum", "anyhow"],
    },
    Layer { name: FOR_TESTS, may_use: &[], never: &[] },
    Layer {
        name: "mqtt-abuse",
        may_use: &["mqtt-codec", FOR_TESTS],
        never: &["tokio", "fjall", "axum", "anyhow"],
    },
    Layer {
        name: "mqtt-cli",
        may_use: &[
            "mqtt-codec",
            "mqtt-router",
            "mqtt-broker",
            "mqtt-store",
            "mqtt-access",
            "mqtt-admin",
            "mqtt-bench",
            "mqtt-abuse",
        ],
        never: &[],
    },
];

pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut manifests = Vec::new();
    source::collect(&root.join("crates"), "toml", &mut manifests)?;
    let mut findings = Vec::new();
    for path in manifests.iter().filter(|path| path.ends_with("Cargo.toml")) {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        check_manifest(&source::relative(root, path), &text, &mut findings)?;
    }
    Ok(findings)
}

fn check_manifest(path: &str, text: &str, findings: &mut Vec<Finding>) -> Result<()> {
    let manifest: Table = text.parse().with_context(|| format!("{path} is not TOML"))?;
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
    let Some(layer) = LAYERS.iter().find(|layer| Some(layer.name) == name) else {
        let what = format!("the crate {} is not in the table of layers", name.unwrap_or("without a name"));
        findings.push(Finding::new(path, 1, what, "add it to LAYERS in xtask/src/tidy/arrows.rs"));
        return Ok(());
    };
    for dependency in dependencies(&manifest) {
        let line = 1 + text.lines().position(|line| line.contains(&dependency.key)).unwrap_or(0);
        let is_below = layer.may_use.contains(&dependency.package.as_str())
            || (dependency.for_tests && dependency.package == FOR_TESTS);
        let points_up = is_ours(&dependency.package) && !is_below;
        if points_up {
            let what = format!("{} may not use {}", layer.name, dependency.package);
            findings.push(Finding::new(path, line, what, "arrows point down only: docs/architecture.md"));
        }
        // A test may use what it likes of others: it ships nothing.
        if !dependency.for_tests && layer.never.contains(&dependency.package.as_str()) {
            let what = format!("{} has no place in {}", dependency.package, layer.name);
            findings.push(Finding::new(path, line, what, "move what needs it to a crate above"));
        }
    }
    Ok(())
}

fn is_ours(package: &str) -> bool {
    LAYERS.iter().any(|layer| layer.name == package) || matches!(package, "xtask" | "mqtt-benches")
}

struct Dependency {
    /// As the manifest spells it.
    key: String,
    /// As the registry spells it: differs from the key where the manifest renames.
    package: String,
    for_tests: bool,
}

/// Of every kind and for every target.
fn dependencies(manifest: &Table) -> Vec<Dependency> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table()).chain([manifest]);
    let mut found = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (key, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let package = value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned();
                found.push(Dependency { key: key.clone(), package, for_tests: kind == "dev-dependencies" });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(manifest: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check_manifest("crates/x/Cargo.toml", manifest, &mut findings).unwrap();
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_arrow_that_points_up_is_found_in_every_kind_of_dependency() {
        for kind in
            ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"]
        {
            let up = format!("[package]\nname = \"mqtt-codec\"\n[{kind}]\nmqtt-router.workspace = true\n");
            let found = findings(&up);
            assert_eq!(found.len(), 1, "{kind}");
            assert!(
                found[0].starts_with("crates/x/Cargo.toml:4: mqtt-codec may not use mqtt-router; "),
                "{found:?}"
            );
        }
        assert_eq!(
            findings("[package]\nname = \"mqtt-router\"\n[dependencies]\nmqtt-codec.workspace = true\n"),
            [""; 0]
        );
    }

    #[test]
    fn what_is_for_tests_is_for_tests_alone() {
        let codec = |kind: &str| {
            format!("[package]\nname = \"mqtt-codec\"\n[{kind}]\ntest-certificates.workspace = true\n")
        };
        assert_eq!(findings(&codec("dependencies")).len(), 1);
        assert_eq!(findings(&codec("dev-dependencies")), [""; 0]);
    }

    #[test]
    fn a_renamed_arrow_is_found_too() {
        let renamed = "[package]\nname = \"mqtt-store\"\n[dependencies]\nx = { package = \"mqtt-router\", version = \"1\" }";
        assert_eq!(findings(renamed).len(), 1);
    }

    #[test]
    fn third_parties_that_have_no_place_in_a_layer_are_found_unless_only_tests_use_them() {
        let codec = |kind: &str| format!("[package]\nname = \"mqtt-codec\"\n[{kind}]\ntokio = \"1\"\n");
        assert_eq!(findings(&codec("dependencies")).len(), 1);
        assert_eq!(findings(&codec("dev-dependencies")), [""; 0]);
        assert_eq!(findings("[package]\nname = \"mqtt-broker\"\n[dependencies]\nserde = \"1\"\n").len(), 1);
    }

    #[test]
    fn a_crate_outside_the_table_is_found() {
        assert!(findings("[package]\nname = \"mqtt-new\"\n")[0].contains("not in the table of layers"));
    }
}
