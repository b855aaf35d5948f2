//! `gmqtt passwd`: users of a password file. What a password file is, mqtt-access knows.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};
use mqtt_access::{Edit, PasswordFile, edit};

use crate::exit::{self, Ending};

/// The longest password that MQTT can spell, in bytes.
const LONGEST_PASSWORD: u64 = 65_535;

/// Add, change or remove a user of a password file
///
/// Asks for the password on the terminal. The file is made if it is not there, readable by its owner alone; it is replaced
/// as a whole, so a broker may read it at any moment. A running one reads it again on SIGHUP.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    act: Option<Act>,

    /// The password file
    #[arg(required = true)]
    file: Option<PathBuf>,

    /// The user
    #[arg(required = true)]
    user: Option<String>,

    /// Remove the user
    #[arg(short = 'D', long, conflicts_with_all = ["batch", "stdin"])]
    delete: bool,

    /// Take this password; everybody on this machine can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "stdin")]
    batch: Option<String>,

    /// Take the password from the first line of standard input
    #[arg(long)]
    stdin: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Say whether a password file can be used, or whether a user's password is right; exit code 1 if not
    Check {
        /// The password file
        file: PathBuf,
        /// Ask for the password of this user, and check it
        user: Option<String>,
        /// Take the password from the first line of standard input
        #[arg(long, requires = "user")]
        stdin: bool,
    },
}

pub(crate) fn run(options: Options) -> anyhow::Result<()> {
    let Options { act, file, user, delete, batch, stdin } = options;
    if let Some(Act::Check { file, user, stdin }) = act {
        return check(&file, user.as_deref(), stdin);
    }
    let (Some(file), Some(user)) = (file, user) else {
        return Err(Ending::Usage("name a file and a user".into()).into());
    };
    let password = match batch {
        _ if delete => None,
        Some(password) => Some(password),
        None if stdin => Some(from_stdin()?),
        None => Some(asked_twice(&user)?),
    };
    let what = password.as_ref().map_or(Edit::Delete, |password| Edit::Set { password: password.as_bytes() });
    edit(&file, &user, what).with_context(|| format!("{} stays as it was", file.display()))
}

fn check(file: &Path, user: Option<&str>, stdin: bool) -> anyhow::Result<()> {
    let users = PasswordFile::load(file)?;
    let Some(user) = user else {
        let formats = users.formats().into_iter().map(|(format, count)| format!(", {count} with {format}"));
        let line = format!("{}: {} users{}", file.display(), users.len(), formats.collect::<String>());
        return exit::output(writeln!(io::stdout(), "{line}"));
    };
    let password = if stdin { from_stdin()? } else { asked(&format!("Password of {user}: "))? };
    match users.verify(user, password.as_bytes()) {
        Some(true) => exit::output(writeln!(io::stdout(), "{user}: the password is right")),
        Some(false) => bail!("{user}: the password is wrong"),
        None => bail!("{user}: no such user"),
    }
}

fn from_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    let mut input = io::Read::take(io::stdin().lock(), LONGEST_PASSWORD + 2);
    input.read_line(&mut line).context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.len() as u64 > LONGEST_PASSWORD {
        bail!("the password is longer than MQTT can spell: 65,535 bytes");
    }
    Ok(password.to_owned())
}

fn asked_twice(user: &str) -> anyhow::Result<String> {
    let first = asked(&format!("Password for {user}: "))?;
    let second = asked("The same again: ")?;
    if first == second { Ok(first) } else { Err(anyhow!("the two passwords differ")) }
}

fn asked(prompt: &str) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return Err(Ending::Usage("there is no terminal to ask for the password: add --stdin".into()).into());
    }
    rpassword::prompt_password(prompt).context("cannot read the password")
}
