//! Comparing, and counting what came out.

use super::*;

#[derive(Default)]
pub struct Tally(pub BTreeMap<String, (u32, u32)>, pub Vec<String>);

impl Tally {
    pub fn claimed(&mut self, group: &str, name: &str, problem: Option<String>) {
        let entry = self.0.entry(group.to_owned()).or_default();
        entry.0 += 1;
        match problem {
            None => entry.1 += 1,
            Some(problem) => self.1.push(format!("{name}: {problem}")),
        }
    }

    pub fn left(&mut self, reason: &str) {
        self.0
            .entry(format!("not claimed: {reason}"))
            .or_default()
            .0 += 1;
    }

    pub fn report(&self, title: &str) {
        let claimed = self.0.iter().filter(|g| !g.0.starts_with("not claimed"));
        let (all, passed) = claimed.fold((0, 0), |a, g| (a.0 + g.1.0, a.1 + g.1.1));
        eprintln!("{title}: {passed} of {all} claimed are equal");
        for (group, (all, passed)) in &self.0 {
            if group.starts_with("not claimed") {
                eprintln!("  {all:5}       {group}");
            } else {
                eprintln!("  {passed:5}/{all:<5} {group}");
            }
        }
        assert!(
            self.1.is_empty(),
            "{} of the claimed differ:\n{}",
            self.1.len(),
            self.1.join("\n")
        );
    }
}

pub fn differs(adapter: &Reading, independent: &Reading) -> Option<String> {
    (adapter != independent)
        .then(|| format!("\n  adapter     {adapter:?}\n  independent {independent:?}"))
}

pub fn compare(dialect: Dialect, stream: &str) -> Option<String> {
    let want = independent(dialect, &documents(stream));
    match decode_cut(dialect, stream) {
        Err(garbage) => Some(garbage.to_string()),
        Ok((_, false)) => Some("not complete".to_owned()),
        Ok((pieces, true)) => differs(&of_pieces(&pieces), &want),
    }
}

pub fn compare_body(dialect: Dialect, body: &str) -> Option<String> {
    let want = independent(dialect, &[serde_json::from_str(body).unwrap()]);
    match adapter(dialect).reply(&ask(Operation::Chat, json!({})), body.as_bytes()) {
        Err(garbage) => Some(garbage.to_string()),
        Ok(pieces) => differs(&of_pieces(&pieces), &want),
    }
}
