//! A disk with a write cache that forgets: what was written and not flushed may be lost at a power
//! cut, all of it, some of it, or half a write. A loop device over a file of this file system
//! hands on each write and each flush of the file system on it; what flush promises is kept.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use parking_lot::Mutex;

use crate::random::Random;

const SECTOR_BYTES: usize = 512;
const FOREVER: Duration = Duration::from_secs(3600);
const DISK: INodeNo = INodeNo(2);

/// What a power cut leaves of the writes that no flush had covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unflushed {
    /// All: the cache was lucky.
    Kept,
    /// None.
    Lost,
    /// Each one or not, and of some only some sectors.
    Torn,
}

impl Unflushed {
    pub fn any(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Kept,
            1 => Self::Lost,
            _ => Self::Torn,
        }
    }
}

struct Platter {
    /// What a reader sees.
    now: Vec<u8>,
    /// What survives whatever happens.
    flushed: Vec<u8>,
    /// What was written since, in order.
    since: Vec<(usize, Vec<u8>)>,
    /// Whether every write and flush fails.
    is_broken: bool,
    aim: Option<Aim>,
    /// What would be left after the cut that was aimed at.
    hit: Option<Vec<u8>>,
}

/// At which write or flush from now on the power fails.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    pub at: Touch,
    /// From 1. A write is in the cache by then; a flush is not done yet.
    pub nth: u64,
    pub unflushed: Unflushed,
    pub seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    Write,
    Flush,
}

impl Platter {
    fn left(&self, unflushed: Unflushed, random: &mut Random) -> Vec<u8> {
        let mut left = match unflushed {
            Unflushed::Kept => return self.now.clone(),
            Unflushed::Lost | Unflushed::Torn => self.flushed.clone(),
        };
        if unflushed == Unflushed::Torn {
            for (offset, bytes) in &self.since {
                keep_some(&mut left, *offset, bytes, random);
            }
        }
        left
    }

    fn touched(&mut self, how: Touch) {
        let Some(aim) = self.aim.as_mut().filter(|aim| aim.at == how) else { return };
        aim.nth -= 1;
        if aim.nth == 0 {
            let (unflushed, mut random) = (aim.unflushed, Random::new(aim.seed));
            self.aim = None;
            self.hit = Some(self.left(unflushed, &mut random));
        }
    }
}

/// A disk; its file is `disk` below the directory that it was mounted at.
pub struct Disk {
    platter: Arc<Mutex<Platter>>,
    file: PathBuf,
    _serving: BackgroundSession,
}

impl Disk {
    /// Serves `image` as a file below `at`, an empty directory.
    pub fn serve(image: Vec<u8>, at: &Path) -> Self {
        let platter = Platter {
            now: image.clone(),
            flushed: image,
            since: Vec::new(),
            is_broken: false,
            aim: None,
            hit: None,
        };
        let platter = Arc::new(Mutex::new(platter));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("faults".to_owned())];
        let serving = fuser::spawn_mount(Face(Arc::clone(&platter)), at, &config).unwrap();
        Self { platter, file: at.join("disk"), _serving: serving }
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What the disk would hold if the power failed now.
    pub fn cut(&self, unflushed: Unflushed, random: &mut Random) -> Vec<u8> {
        self.platter.lock().left(unflushed, random)
    }

    /// Lets the power fail at one write or flush to come, while everything goes on.
    pub fn aim(&self, aim: Aim) {
        let mut platter = self.platter.lock();
        (platter.aim, platter.hit) = (Some(aim), None);
    }

    /// What the disk would hold after the cut that was aimed at, if that moment has come.
    pub fn hit(&self) -> Option<Vec<u8>> {
        let mut platter = self.platter.lock();
        platter.aim = None;
        platter.hit.take()
    }

    /// From now on every write and flush fails, as on a disk that dies.
    pub fn break_down(&self) {
        self.platter.lock().is_broken = true;
    }
}

fn keep_some(left: &mut [u8], offset: usize, bytes: &[u8], random: &mut Random) {
    let fate = random.below(5);
    for (i, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
        let is_kept = match fate {
            0 | 1 => true,
            2 | 3 => false,
            _ => random.below(2) == 0,
        };
        if is_kept {
            let at = offset + i * SECTOR_BYTES;
            left[at..at + sector.len()].copy_from_slice(sector);
        }
    }
}

/// What the kernel asks of the file system.
struct Face(Arc<Mutex<Platter>>);

impl Face {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_root = inode == INodeNo::ROOT;
        FileAttr {
            ino: inode,
            size: if is_root { 0 } else { self.0.lock().now.len() as u64 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_root { FileType::Directory } else { FileType::RegularFile },
            perm: if is_root { 0o700 } else { 0o600 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Face {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some("disk") => reply.entry(&FOREVER, &self.attributes(DISK), fuser::Generation(0)),
            Some(_) | None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let platter = self.0.lock();
        let from = (offset as usize).min(platter.now.len());
        let to = (from + size as usize).min(platter.now.len());
        reply.data(&platter.now[from..to]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut platter = self.0.lock();
        let from = offset as usize;
        if platter.is_broken || platter.now.len() < from + data.len() {
            return reply.error(Errno::EIO);
        }
        platter.now[from..from + data.len()].copy_from_slice(data);
        platter.since.push((from, data.to_vec()));
        platter.touched(Touch::Write);
        reply.written(data.len() as u32);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut platter = self.0.lock();
        if platter.is_broken {
            return reply.error(Errno::EIO);
        }
        platter.touched(Touch::Flush);
        let platter = &mut *platter;
        for (offset, bytes) in platter.since.drain(..) {
            platter.flushed[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        reply.ok();
    }
}
