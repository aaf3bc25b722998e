//! `tidemark keys`: make, change, end and list the keys of a data folder, and say what they and their accounts may use. A
//! running router sees a change within half a second.

mod list;
mod terms;

use crate::config::Config;
use crate::output::{Format, line};
use anyhow::{Context, Result};
use clap::Subcommand;
use terms::{KeyOptions, TermOptions};
use tidemark_catalog::Catalog;
use tidemark_router::keys::{Keys, StoredKey};

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a key for an account and shows it, this once.
    #[command(
        after_help = "Examples:\n  tidemark keys create --account acme\n  tidemark keys create --account acme --name ci --expires 2027-06-30 --limit \"5 USD/day\" --limit \"60 requests/minute\"\n  tidemark keys create --account acme --models 'openai/*,anthropic/claude-sonnet-4' --zdr --soft-limit \"80 USD/month\"\n  tidemark keys create --account our-litellm --gateway\n  export OPENAI_API_KEY=$(tidemark keys create --account acme --format text)"
    )]
    Create {
        /// Whose requests it signs.
        #[arg(long, value_name = "A")]
        account: String,
        #[command(flatten)]
        key: KeyOptions,
        #[command(flatten)]
        terms: TermOptions,
        /// `text` is the key alone.
        #[arg(long, default_value = "table", value_parser = ["table", "text", "json"])]
        format: String,
    },
    /// Changes a key: each option that is given replaces what was set before, the others stay.
    #[command(
        after_help = "Examples:\n  tidemark keys update 3f9a2c41d07e --limit \"20 USD/day\"\n  tidemark keys update 3f9a2c41d07e --limit none --models any --expires never --zdr=false"
    )]
    Update {
        /// As `tidemark keys list` shows it.
        id: String,
        #[command(flatten)]
        key: KeyOptions,
        #[command(flatten)]
        terms: TermOptions,
    },
    /// Says what holds for an account over all its keys, those made later included; without options shows it.
    #[command(
        after_help = "Examples:\n  tidemark keys account acme --limit \"500 USD/month\" --soft-limit \"400 USD/month\"\n  tidemark keys account acme --ignore deepseek --no-data-collection\n  tidemark keys account acme"
    )]
    Account {
        /// Its name, as given to `keys create`.
        account: String,
        #[command(flatten)]
        terms: TermOptions,
        /// Output.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Ends a key; a running router takes it no more within half a second.
    #[command(after_help = "Example:\n  tidemark keys revoke 3f9a2c41d07e")]
    Revoke {
        /// As `tidemark keys list` shows it.
        id: String,
    },
    /// All keys, without their text, and how their limits stand.
    #[command(
        after_help = "Examples:\n  tidemark keys list\n  tidemark keys list --format json | jq 'select(.state == \"in force\") | .limits[]'"
    )]
    List {
        /// Output.
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
}

/// Runs one of the commands.
pub fn run(config: &Config, command: Command) -> Result<()> {
    let dir = &config.data_dir;
    std::fs::create_dir_all(dir).with_context(|| {
        format!(
            "the data folder {} cannot be made: choose another with --data-dir",
            dir.display()
        )
    })?;
    let keys = Keys::open(dir)?;
    let catalog = Catalog::builtin()?;
    match command {
        Command::Create {
            account,
            key,
            terms,
            format,
        } => {
            terms.check(&catalog)?;
            let (stored, text) = keys.create_with(&account, |stored| {
                key.apply(stored);
                terms.apply(&mut stored.terms);
            })?;
            shown(&stored, &text, &format);
        }
        Command::Update { id, key, terms } => {
            terms.check(&catalog)?;
            let changed = keys.update(&id, |stored| {
                key.apply(stored);
                terms.apply(&mut stored.terms);
            })?;
            line(format!(
                "Key {} of the account {} is changed.",
                changed.id, changed.account
            ));
        }
        Command::Account {
            account,
            terms,
            format,
        } => {
            terms.check(&catalog)?;
            if !terms.is_empty() {
                keys.update_account(&account, |stored| terms.apply(stored))?;
            }
            list::account(&keys, &account, format)?;
        }
        Command::Revoke { id } => {
            let revoked = keys.revoke(&id)?;
            line(format!(
                "Key {} of the account {} is revoked.",
                revoked.id, revoked.account
            ));
        }
        Command::List { format } => list::keys(&keys, format)?,
    }
    Ok(())
}

/// The one time that the text of a key is shown.
fn shown(stored: &StoredKey, key: &str, format: &str) {
    let StoredKey { id, account, .. } = stored;
    match format {
        "text" => line(key),
        "json" => line(serde_json::json!({"id": id, "account": account, "key": key})),
        _ => line(format!(
            "{key}\n\nKey {id} of the account {account}. It is shown this once; `tidemark keys revoke {id}` ends it."
        )),
    }
}
