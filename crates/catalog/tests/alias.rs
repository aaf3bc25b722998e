//! Aliases: what can be named when, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

use chrono::{DateTime, Utc};
use tidemark_catalog::{Catalog, CatalogError, is_alias};

const REAL: &str = "openai/gpt-4o";

fn alias(id: &str, of: &str, more: &str) -> String {
    format!(
        r#"alias = [{{ id = "{id}", name = "Quiet Heron", of = "{of}", released = "2026-11-01"{more} }}]"#
    )
}

fn load(text: &str) -> Result<Catalog, CatalogError> {
    Catalog::builtin().unwrap().with_aliases(text)
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn an_alias_is_a_model_of_its_own_until_its_moment() {
    let more = r#", revealed = "2026-12-01T12:00:00Z""#;
    let catalog = load(&alias("stealth/quiet-heron", REAL, more)).unwrap();
    let (before, after) = (at("2026-12-01T11:59:59Z"), at("2026-12-01T12:00:00Z"));
    let face = catalog.model_named("stealth/quiet-heron", before).unwrap();
    assert_eq!(
        (face.id.as_str(), face.name.as_str(), face.author.as_str()),
        ("stealth/quiet-heron", "Quiet Heron", "stealth")
    );
    let real = catalog.model(REAL).unwrap();
    assert_eq!(face.context_length, real.context_length);
    assert_ne!(face.released, real.released);
    assert_eq!((face.deprecated, &face.successor), (None, &None));
    assert!(is_alias(&face.id) && !is_alias(REAL) && !is_alias("stealthy/model"));

    let serving = |id| -> Vec<_> { catalog.endpoints_of(id).collect() };
    assert_eq!(serving("stealth/quiet-heron"), serving(REAL));
    assert_eq!(
        catalog.model_named("stealth/quiet-heron", after),
        Some(real)
    );
    // What is public stays so, under its own name.
    assert_eq!(catalog.model_named(REAL, before), Some(real));
    let count = |now| catalog.named_models(now).count();
    assert_eq!(count(before), catalog.models().len() + 1);
    assert_eq!(count(after), catalog.models().len());
}

#[test]
fn what_came_with_an_alias_shows_with_its_reveal() {
    let hidden = r#"
author = [{ slug = "zephyr-labs", name = "Zephyr Labs", country = "NZ" }]
provider = [{ slug = "zephyr", name = "Zephyr", country = "NZ", regions = ["east"] }]
model = [{ id = "zephyr-labs/nine", name = "Nine", author = "zephyr-labs", released = "2026-01-01", context_length = 1000, max_output = 100, open_weights = true, input = ["text"], output = ["text"], tools = true, reasoning = false, status = "live" }]
endpoint = [{ id = "zephyr/nine", model = "zephyr-labs/nine", provider = "zephyr", upstream = "nine", quantization = "fp8", context_length = 1000, regions = ["east"], prices = [{ from = "2026-01-01", prompt = "1", completion = "2" }] }]
"#;
    let more = r#", revealed = "2026-12-01T00:00:00Z""#;
    let text = format!(
        "{hidden}{}",
        alias("stealth/quiet-heron", "zephyr-labs/nine", more)
    );
    let catalog = load(&text).unwrap();
    let builtin = Catalog::builtin().unwrap();
    let (before, after) = (at("2026-11-30T00:00:00Z"), at("2026-12-01T00:00:00Z"));
    assert_eq!(catalog.models(), builtin.models());
    assert_eq!(catalog.authors(), builtin.authors());
    assert_eq!(catalog.providers(), builtin.providers());
    assert_eq!(catalog.endpoints(), builtin.endpoints());
    assert_eq!(catalog.model_named("zephyr-labs/nine", before), None);
    let near = catalog.nearest("zephyr-labs/nine", 9);
    assert!(near.iter().all(|id| !id.contains("zephyr")), "{near:?}");
    assert_eq!(catalog.endpoints_of("stealth/quiet-heron").count(), 1);
    let seen = |now| {
        (
            catalog
                .named_models(now)
                .any(|model| model.id == "zephyr-labs/nine"),
            catalog
                .named_authors(now)
                .any(|author| author.slug == "zephyr-labs"),
            catalog
                .named_providers(now)
                .any(|provider| provider.slug == "zephyr"),
        )
    };
    assert_eq!(seen(before), (false, false, false));
    assert_eq!(seen(after), (true, true, true));
    // Without an alias it stays hidden for ever.
    let catalog = load(hidden).unwrap();
    assert_eq!(catalog.model_named("zephyr-labs/nine", after), None);
}

#[test]
fn faults_name_the_alias_and_not_what_it_stands_for() {
    for (id, of) in [
        ("quiet-heron", REAL),
        ("openai/quiet-heron", REAL),
        ("stealth/", REAL),
        ("stealth/a/b", REAL),
        ("stealth/heron:free", REAL),
        ("stealth/heron", "zephyr-labs/unknown"),
        ("stealth/heron", "openai/text-embedding-3-small"),
    ] {
        let error = load(&alias(id, of, "")).unwrap_err();
        assert!(matches!(error, CatalogError::BadAlias { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(id) && !said.contains(of), "{said}");
    }
    let twice = alias("stealth/heron", REAL, "")
        .replace("alias = [", "")
        .replace("]", ",");
    let error = load(&format!("alias = [{twice}{twice}]")).unwrap_err();
    assert_eq!(error.to_string(), "alias `stealth/heron` is listed twice");
    let error = load(&alias("stealth/heron", REAL, ", colour = 1")).unwrap_err();
    assert!(error.to_string().contains("colour"), "{error}");
    let error = load(r#"author = [{ slug = "stealth", name = "S", country = "" }]"#).unwrap_err();
    assert!(matches!(error, CatalogError::Reserved { .. }), "{error}");
    let error = load(r#"provider = [{ slug = "openai", name = "O", country = "", regions = [] }]"#);
    assert!(matches!(
        error.unwrap_err(),
        CatalogError::DuplicateId { .. }
    ));
}

#[test]
fn the_binary_holds_no_secret() {
    let catalog = Catalog::builtin().unwrap();
    let now = Utc::now();
    assert!(catalog.aliases().iter().all(|alias| alias.is_revealed(now)));
}
