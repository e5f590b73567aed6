//! The configuration of the whole service: flags over environment over a TOML file. Every bound of
//! the service stands here, checked once at the start; nothing reads a setting from anywhere else.

pub mod settings;
pub mod value;
pub mod witnesses;
pub mod source;

use settings::{Config, RawConfig};
use source::{Merged, Sources};

/// Why the service cannot start with this configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}; {remedy}")]
pub struct ConfigFault {
    /// The setting, or the file, that is at fault.
    pub key: String,
    /// What is wrong with it, and where it was set.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

impl Config {
    /// The configuration that `sources` give together; what none of them sets has its default.
    ///
    /// # Errors
    /// [`ConfigFault`]: the first key that is unknown, of the wrong type or out of its range.
    /// Nothing was started; correct the named source.
    pub fn load(sources: &Sources) -> Result<Self, ConfigFault> {
        let merged = Merged::new(sources)?;
        let raw: RawConfig = merged.extract()?;
        Self::try_from(raw).map_err(|fault| merged.locate(fault))
    }

    /// What no single range can say.
    fn check(self) -> Result<Self, ConfigFault> {
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            return Err(ConfigFault {
                key: "admin_listen".to_owned(),
                what: format!("{} is the public listener's address, too", self.admin_listen),
                remedy: "give the administration another port".to_owned(),
            });
        }
        for (certificate, key, prefix) in [
            (&self.tls_certificate_file, &self.tls_key_file, ""),
            (&self.admin_tls_certificate_file, &self.admin_tls_key_file, "admin_"),
        ] {
            let (missing, given) = match (certificate.path(), key.path()) {
                (None, Some(_)) => ("tls_certificate_file", "tls_key_file"),
                (Some(_), None) => ("tls_key_file", "tls_certificate_file"),
                (Some(_), Some(_)) | (None, None) => continue,
            };
            return Err(ConfigFault {
                key: format!("{prefix}{missing}"),
                what: format!("{prefix}{given} is of no use without it"),
                remedy: "set both, or neither".to_owned(),
            });
        }
        let shutdown_timeout_ms = u64::from(self.shutdown_timeout_s) * 1_000;
        let queue = self.queue_commands_max as u64;
        for (key, value, limit, limit_key) in [
            // More than are ever queued would never be batched.
            ("batch_commands_max", self.batch_commands_max as u64, queue, "queue_commands_max"),
            // What is in flight at a stop is still answered.
            (
                "submit_timeout_ms",
                self.submit_timeout_ms,
                shutdown_timeout_ms,
                "shutdown_timeout_s (in milliseconds)",
            ),
        ] {
            if limit < value {
                return Err(ConfigFault {
                    key: key.to_owned(),
                    what: format!("{value} is more than {limit_key} allows"),
                    remedy: format!("set it to at most {limit}, or raise {limit_key}"),
                });
            }
        }
        // What a key signed may live for a day, and so long it stays published.
        if (1..86_400).contains(&self.key_rotation_s) {
            return Err(ConfigFault {
                key: "key_rotation_s".to_owned(),
                what: format!("{} is less than a day", self.key_rotation_s),
                remedy: "set it to at least 86400, or to 0 to rotate by hand".to_owned(),
            });
        }
        Ok(self)
    }
}
