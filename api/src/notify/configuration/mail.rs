//! What `global` says about mail under `smtp_...`, and `email_configs` without that prefix.

use std::path::Path;

use super::fields::Fields;
use crate::notify::mail::MailDraft;
use crate::notify::receiver::Secret;

#[derive(Debug, Clone, Default)]
pub(super) struct MailDefaults {
    from: Option<String>,
    smarthost: Option<String>,
    hello: Option<String>,
    auth_username: Option<String>,
    auth_password: Option<Secret>,
    auth_identity: Option<String>,
    require_tls: Option<bool>,
    force_implicit_tls: Option<bool>,
    tls: Option<Tls>,
}

#[derive(Debug, Clone, Default)]
struct Tls {
    authorities: Option<Vec<u8>>,
    server_name: Option<String>,
}

impl MailDefaults {
    /// Takes the keys that begin with `prefix`.
    pub(super) fn read(
        fields: &mut Fields,
        prefix: &str,
        dir: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Self, String> {
        let key = |name: &str| format!("{prefix}{name}");
        let text = |fields: &mut Fields, name: &str| -> Result<Option<String>, String> {
            Ok(fields.text(&key(name))?.filter(|text| !text.is_empty()))
        };
        let password = fields.text_or_file(&key("auth_password"), dir)?;
        Ok(Self {
            from: text(fields, "from")?,
            smarthost: text(fields, "smarthost")?,
            hello: text(fields, "hello")?,
            auth_username: text(fields, "auth_username")?,
            auth_password: password.filter(|password| !password.is_empty()).map(Secret::new),
            auth_identity: text(fields, "auth_identity")?,
            require_tls: fields.flag(&key("require_tls"))?,
            force_implicit_tls: fields.flag(&key("force_implicit_tls"))?,
            tls: Tls::read(fields.section(&key("tls_config"))?, dir, warnings)?,
        })
    }

    /// These, and where they say nothing, those.
    pub(super) fn over(self, general: &Self) -> Self {
        Self {
            from: self.from.or_else(|| general.from.clone()),
            smarthost: self.smarthost.or_else(|| general.smarthost.clone()),
            hello: self.hello.or_else(|| general.hello.clone()),
            auth_username: self.auth_username.or_else(|| general.auth_username.clone()),
            auth_password: self.auth_password.or_else(|| general.auth_password.clone()),
            auth_identity: self.auth_identity.or_else(|| general.auth_identity.clone()),
            require_tls: self.require_tls.or(general.require_tls),
            force_implicit_tls: self.force_implicit_tls.or(general.force_implicit_tls),
            tls: self.tls.or_else(|| general.tls.clone()),
        }
    }

    /// All of it, for letters to `to`.
    pub(super) fn draft(
        self,
        to: String,
        headers: Vec<(String, String)>,
        html: bool,
        place: &str,
    ) -> Result<MailDraft, String> {
        let missing = |key: &str| format!("{place}: {key} is missing, here and as global.smtp_{key}");
        let tls = self.tls.unwrap_or_default();
        Ok(MailDraft {
            to,
            from: self.from.ok_or_else(|| missing("from"))?,
            smarthost: self.smarthost.ok_or_else(|| missing("smarthost"))?,
            hello: self.hello,
            auth_username: self.auth_username,
            auth_password: self.auth_password,
            auth_identity: self.auth_identity,
            require_tls: self.require_tls.unwrap_or(true),
            force_implicit_tls: self.force_implicit_tls,
            authorities: tls.authorities,
            server_name: tls.server_name,
            headers,
            html,
        })
    }
}

impl Tls {
    /// None where nothing is said.
    fn read(mut fields: Fields, dir: &Path, warnings: &mut Vec<String>) -> Result<Option<Self>, String> {
        let read = Self {
            authorities: fields.text_or_file("ca", dir)?.map(String::into_bytes),
            server_name: fields.text("server_name")?.filter(|name| !name.is_empty()),
        };
        if fields.flag("insecure_skip_verify")? == Some(true) {
            return Err(format!(
                "{}: certificates are always checked; give ca_file, or server_name",
                fields.place("insecure_skip_verify")
            ));
        }
        const NO_CLIENT: &str = "no certificate of our own is shown to mail servers";
        const VERSIONS: &str = "TLS 1.2 and 1.3 are spoken";
        fields.finish(
            &[
                ("cert", NO_CLIENT),
                ("cert_file", NO_CLIENT),
                ("key", NO_CLIENT),
                ("key_file", NO_CLIENT),
                ("min_version", VERSIONS),
                ("max_version", VERSIONS),
            ],
            warnings,
        )?;
        let says_something = read.authorities.is_some() || read.server_name.is_some();
        Ok(says_something.then_some(read))
    }
}
