//! HTML out of templates with `{{holes}}`. What fills a hole is [`Html`], and text becomes that only by escaping.

use std::fmt::Write as _;

/// HTML that is safe to send.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Html(String);

impl Html {
    /// Any text, escaped for element content and quoted attributes.
    pub(crate) fn text(text: impl std::fmt::Display) -> Self {
        let text = text.to_string();
        let mut html = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '&' => html.push_str("&amp;"),
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                other => html.push(other),
            }
        }
        Self(html)
    }

    /// Markup written in this crate.
    pub(crate) fn markup(markup: &'static str) -> Self {
        Self(markup.to_owned())
    }

    /// A template with its holes filled. An unknown hole stays empty and is logged: the tests look for it.
    pub(crate) fn fill(template: &str, holes: &[(&str, Html)]) -> Self {
        let mut html = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            html.push_str(before);
            let Some((name, after)) = after.split_once("}}") else {
                rest = after;
                break;
            };
            match holes.iter().find(|(hole, _)| *hole == name) {
                Some((_, filling)) => html.push_str(&filling.0),
                None => {
                    tracing::error!(hole = name, "a template names something that nobody fills")
                }
            }
            rest = after;
        }
        html.push_str(rest);
        Self(html)
    }

    /// The page.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(pieces: I) -> Self {
        let mut html = String::new();
        for piece in pieces {
            html.push_str(&piece.0);
        }
        Self(html)
    }
}

/// `1,234,567`.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1.23M`: three digits and a unit.
pub(crate) fn short(number: f64) -> String {
    let units = [(1e15, "Q"), (1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")];
    let mut text = String::new();
    // A number that rounds up to the next unit is written in that unit.
    let (scaled, unit) = units
        .iter()
        .find(|(size, _)| number.abs() >= size * 0.9995)
        .map_or((number, ""), |(size, unit)| (number / size, *unit));
    let decimals = match scaled.abs() {
        _ if unit.is_empty() && scaled.fract() == 0.0 => 0,
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    // Writing to a String does not fail.
    let _ = write!(text, "{scaled:.decimals$}{unit}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_filled_text_is_not_read_again() {
        let evil = Html::text("<script>alert('{{b}}')</script>&\"");
        let html = Html::fill(
            "<p title=\"{{a}}\">{{b}}</p>{{",
            &[("a", evil), ("b", Html::markup("<i>b</i>"))],
        );
        assert_eq!(
            html.into_string(),
            "<p title=\"&lt;script&gt;alert(&#39;{{b}}&#39;)&lt;/script&gt;&amp;&quot;\"><i>b</i></p>"
        );
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0, 12, 1_234, -1_234_567].map(grouped),
            ["0", "12", "1,234", "-1,234,567"]
        );
        let written = [0.0, 999.0, 1_000.0, 12_345.0, 999_960.0, 2.05e14, 0.5].map(short);
        assert_eq!(
            written,
            ["0", "999", "1.00K", "12.3K", "1.00M", "205T", "0.50"]
        );
    }
}
