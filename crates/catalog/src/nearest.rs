//! Near matches for a misspelled model id.

/// Up to `n` of `ids`, by ascending distance to `wanted`, equal ones alphabetically. Ids too far off are left out.
pub(crate) fn nearest<'a>(
    wanted: &str,
    ids: impl Iterator<Item = &'a str>,
    n: usize,
) -> Vec<&'a str> {
    let wanted = wanted.trim().to_lowercase();
    if wanted.is_empty() {
        return Vec::new();
    }
    let mut near: Vec<_> = ids
        .filter_map(|id| distance(&wanted, id).map(|far| (far, id)))
        .collect();
    near.sort_unstable();
    near.into_iter().take(n).map(|(_, id)| id).collect()
}

/// How far an id is from what was typed; `None` where it is not a plausible reading of it.
///
/// People forget the author, or take the provider for it, so the slug alone counts too.
fn distance(wanted: &str, id: &str) -> Option<usize> {
    let slug = |id: &str| id.rsplit('/').next().map(str::to_owned).unwrap_or_default();
    let (wanted_slug, id_slug) = (slug(wanted), slug(id));
    let far = edits(wanted, id).min(edits(&wanted_slug, &id_slug) + 1);
    let contained = wanted_slug.len() >= 3 && id_slug.contains(&wanted_slug);
    let limit = (wanted_slug.chars().count() / 3).max(2);
    (far <= limit || contained).then_some(far)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &to) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(from != to);
            row[j + 1] = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1] && a[i - 1] == to {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 4] = [
        "openai/gpt-4o",
        "openai/gpt-4o-mini",
        "anthropic/claude-sonnet-4.5",
        "qwen/qwen3-32b",
    ];

    #[test]
    fn counts_edits() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("sonnet", "sonent"), 1);
    }

    #[test]
    fn finds_what_was_meant() {
        let first = |wanted| nearest(wanted, IDS.into_iter(), 1);
        assert_eq!(first("openai/gtp-4o"), ["openai/gpt-4o"]);
        assert_eq!(first("claude-sonnet-4-5"), ["anthropic/claude-sonnet-4.5"]);
        assert_eq!(first("groq/Qwen3-32B"), ["qwen/qwen3-32b"]);
        assert_eq!(first("sonnet"), ["anthropic/claude-sonnet-4.5"]);
    }

    #[test]
    fn keeps_silent_when_nothing_is_near() {
        assert!(nearest("stable-diffusion-xl", IDS.into_iter(), 5).is_empty());
        assert!(nearest("  ", IDS.into_iter(), 5).is_empty());
        assert!(nearest("gpt-4o", IDS.into_iter(), 0).is_empty());
    }
}
