//! [`AccessArguments`]: who may connect, and what he may do there, by files that are read again on SIGHUP.

use std::path::PathBuf;

use anyhow::Context;
use mqtt_access::{
    Access, AccessControl, Acl, Certificates, Failures, PasswordChecks, PasswordFile, Passwords,
};

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArguments {
    /// Serve clients from other machines without asking who they are, and beside a password file those without a name
    #[arg(long)]
    pub(crate) allow_anonymous: bool,

    /// Ask clients for a user name and a password of this file (`gmqtt passwd FILE USER`); read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Let clients do only what this file allows, in the syntax of mosquitto; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    acl_file: Option<PathBuf>,
}

/// The rules in force, and what it takes to read them again.
#[derive(Clone)]
pub(crate) struct Rules {
    arguments: AccessArguments,
    certificates: bool,
    checks: PasswordChecks,
    failures: Failures,
    control: AccessControl,
}

impl AccessArguments {
    /// Whether clients have to prove who they are.
    pub(crate) fn asks_for_passwords(&self) -> bool {
        self.password_file.is_some()
    }

    /// Reads the files; `None` if there are none, and so nobody is asked anything. `certificates` says whether clients
    /// prove by those who they are.
    pub(crate) fn rules(&self, certificates: bool) -> anyhow::Result<Option<Rules>> {
        if self.password_file.is_none() && self.acl_file.is_none() {
            return Ok(None);
        }
        let (checks, failures) = (PasswordChecks::default(), Failures::default());
        let access = self.read(certificates, &checks, &failures)?;
        let control = AccessControl::new(access);
        Ok(Some(Rules { arguments: self.clone(), certificates, checks, failures, control }))
    }

    fn read(
        &self,
        certificates: bool,
        checks: &PasswordChecks,
        failures: &Failures,
    ) -> anyhow::Result<Access> {
        // Without passwords there is no name to be checked: all are nobody, and nobody may be anybody.
        let anonymous = self.allow_anonymous || !self.asks_for_passwords();
        let mut access = Access::new().allow_anonymous(anonymous).failures(failures);
        if certificates {
            access = access.identify(Certificates);
        }
        if let Some(path) = &self.password_file {
            let file = PasswordFile::load(path).context("cannot use the password file")?;
            access = access.identify(Passwords::new(file, checks.clone()));
        }
        if let Some(path) = &self.acl_file {
            access = access.authorize(Acl::load(path).context("cannot use the access list")?);
        }
        Ok(access)
    }
}

impl Rules {
    pub(crate) fn control(&self) -> &AccessControl {
        &self.control
    }

    /// Reads the files again. If anything is wrong with them, all stays as it was.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        self.control.replace(self.arguments.read(self.certificates, &self.checks, &self.failures)?);
        Ok(())
    }
}
