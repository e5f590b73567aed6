//! File systems in images, mounted on loop devices; unmounted when dropped.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::Disk;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    /// Room for a ledger of a few seconds' load, its copy before a recovery, and the space that the
    /// service keeps free.
    fn image_bytes(self) -> usize {
        match self {
            Self::Ext4 => 320 << 20,
            Self::Xfs => 400 << 20,
        }
    }

    /// A fresh file system.
    pub fn image(self, scratch: &Path) -> Vec<u8> {
        self.image_of(self.image_bytes(), scratch)
    }

    pub fn image_of(self, bytes: usize, scratch: &Path) -> Vec<u8> {
        let path = scratch.join("fresh.img");
        fs::File::create(&path).unwrap().set_len(bytes as u64).unwrap();
        let mut make = Command::new(format!("mkfs.{}", self.name()));
        match self {
            Self::Ext4 => make.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]),
            Self::Xfs => make.args(["-q", "-f"]),
        };
        run(make.arg(&path));
        let image = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        image
    }
}

/// What stands in the way of mounting images here, if anything does.
pub fn missing(file_system: FileSystem) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root, to mount images".to_owned());
    }
    for device in ["/dev/loop-control", "/dev/fuse"] {
        if !Path::new(device).exists() {
            return Some(format!("needs {device}"));
        }
    }
    let make = format!("mkfs.{}", file_system.name());
    Command::new(&make).arg("-V").output().err().map(|_| format!("needs {make}"))
}

/// A mounted file system.
pub struct Mounted {
    pub at: PathBuf,
    /// Outlives the mount.
    pub disk: Option<Disk>,
    served_at: Option<PathBuf>,
    image: Option<PathBuf>,
}

impl Mounted {
    /// Mounts `image` from a disk that forgets what was not flushed.
    pub fn forgetful(image: Vec<u8>, scratch: &Path, name: &str) -> Self {
        let served_at = scratch.join(format!("{name}.disk"));
        fs::create_dir_all(&served_at).unwrap();
        let disk = Disk::serve(image, &served_at);
        let at = mount(disk.file(), scratch, name);
        Self { at, disk: Some(disk), served_at: Some(served_at), image: None }
    }

    /// Mounts `image` from a plain file.
    pub fn plain(image: &[u8], scratch: &Path, name: &str) -> Self {
        let path = scratch.join(format!("{name}.img"));
        write_sparse(&path, image);
        let at = mount(&path, scratch, name);
        Self { at, disk: None, served_at: None, image: Some(path) }
    }

    pub fn disk(&self) -> &Disk {
        self.disk.as_ref().unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A process that was just killed may hold it for a moment.
        for _ in 0..200 {
            let unmounted = Command::new("umount").arg(&self.at).output();
            if unmounted.is_ok_and(|done| done.status.success()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(self.disk.take());
        for path in [&Some(self.at.clone()), &self.served_at].into_iter().flatten() {
            let _ = fs::remove_dir(path);
        }
        if let Some(image) = &self.image {
            let _ = fs::remove_file(image);
        }
    }
}

fn mount(file: &Path, scratch: &Path, name: &str) -> PathBuf {
    let kind =
        Command::new("blkid").args(["-p", "-o", "value", "-s", "TYPE"]).arg(file).output().unwrap();
    // The copy has the identity of the original, which is mounted beside it.
    let options = if kind.stdout.starts_with(b"xfs") { "loop,nouuid" } else { "loop" };
    let at = scratch.join(format!("{name}.mnt"));
    fs::create_dir_all(&at).unwrap();
    run(Command::new("mount").args(["-o", options]).arg(file).arg(&at));
    at
}

/// The holes stay holes.
fn write_sparse(path: &Path, image: &[u8]) {
    let mut file = fs::File::create(path).unwrap();
    file.set_len(image.len() as u64).unwrap();
    for (i, block) in image.chunks(1 << 16).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start((i << 16) as u64)).unwrap();
            file.write_all(block).unwrap();
        }
    }
}

fn run(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
