//! Packages: the texts of a policy, and what follows from them; and those that a data folder keeps, by their fingerprints.

use crate::journal::disk::write_whole;
use dataflows::policy::{Policy, Problem};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A package that is well.
#[derive(Clone)]
pub struct Package {
    /// Names and contents of its files.
    pub texts: Vec<(String, String)>,
    pub policy: Arc<Policy>,
}

impl Package {
    /// Checks and compiles a package.
    pub fn load(texts: Vec<(String, String)>) -> Result<Package, Vec<Problem>> {
        let policy = Arc::new(Policy::load(&texts)?);
        Ok(Package { texts, policy })
    }
}

/// A policy's fingerprint as it is written: a hash of what its package says.
pub fn fingerprint(policy: &Policy) -> String {
    format!("{:032x}", policy.fingerprint)
}

/// A policy as people call it.
pub fn title(policy: &Policy) -> String {
    format!("{}@{}", policy.id, policy.version)
}

/// The packages that a data folder keeps: whatever was in force in it, and whatever was proposed.
#[derive(Clone, Debug)]
pub struct Packages(PathBuf);

impl Packages {
    /// Opens the folder, or makes it.
    pub fn open(folder: &Path) -> io::Result<Packages> {
        fs::create_dir_all(folder)?;
        Ok(Packages(folder.to_owned()))
    }

    /// Keeps a package; returns once it would outlive a loss of power.
    pub fn keep(&self, package: &Package) -> io::Result<()> {
        let path = self.path(&fingerprint(&package.policy));
        if path.exists() {
            return Ok(());
        }
        write_whole(&path, &serde_json::to_vec(&package.texts)?)
    }

    /// The package of this fingerprint. The error says what is the matter with it.
    pub fn load(&self, fingerprint: &str) -> io::Result<Package> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let texts = match fs::read(self.path(fingerprint)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(io::Error::new(error.kind(), format!("package {fingerprint} was never proposed here")));
            }
            texts => serde_json::from_slice(&texts?)?,
        };
        let package = Package::load(texts).map_err(|problems| invalid(format!("package {fingerprint}: {}", problems[0])))?;
        match self::fingerprint(&package.policy) == fingerprint {
            true => Ok(package),
            false => Err(invalid(format!("package {fingerprint}: its files are not what they were"))),
        }
    }

    fn path(&self, fingerprint: &str) -> PathBuf {
        self.0.join(format!("{fingerprint}.json"))
    }
}
