//! Log lines on their way to standard error. A pipe that is full because its reader hangs must not hold
//! up who logs: lines are left out then, and counted.

use std::io::{self, Write, stderr};
use std::os::fd::AsFd;

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::value::LogFormat;

/// What is written at once: so much fits into a pipe that takes anything at all.
const PART_BYTES: usize = 4096;
/// For how long a reader who lets nothing through is waited for, in nanoseconds.
const PATIENCE_NS: i64 = 200_000_000;

static LINES: Mutex<Lines> = Mutex::new(Lines::NEW);

/// Standard error for lines of a format, as far as somebody reads it.
pub(super) struct ToStandardError(pub(super) LogFormat);

impl Write for ToStandardError {
    /// Takes one line, whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.lock().put(&mut stderr(), self.0, line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is known of the reader.
struct Lines {
    /// Lines left out since the last one that was written.
    lost: u64,
    /// The last line that was begun has no end.
    is_torn: bool,
    /// Waited for in vain once, and so never again: or each line would hold up who logs it.
    was_slow: bool,
}

impl Lines {
    const NEW: Self = Self { lost: 0, is_torn: false, was_slow: false };

    fn put(
        &mut self,
        to: &mut (impl Write + AsFd),
        format: LogFormat,
        line: &[u8],
    ) -> io::Result<()> {
        if 0 < self.lost {
            if !takes(to, 0) {
                self.lost += 1;
                return Ok(());
            }
            let told = self.told(format);
            (self.lost, self.is_torn) = (0, false);
            to.write_all(told.as_bytes())?;
        }
        for (i, part) in line.chunks(PART_BYTES).enumerate() {
            if !takes(to, if self.was_slow { 0 } else { PATIENCE_NS }) {
                *self = Self { lost: 1, is_torn: 0 < i, was_slow: true };
                return Ok(());
            }
            to.write_all(part)?;
        }
        Ok(())
    }

    /// How many lines are missing, as a line.
    fn told(&self, format: LogFormat) -> String {
        let (lost, end) = (self.lost, if self.is_torn { "\n" } else { "" });
        let message = "log lines were left out here: nobody read standard error";
        match format {
            LogFormat::Text => {
                format!("{end} WARN token_ledger::telemetry: {message} lost={lost}\n")
            }
            LogFormat::Json => {
                format!("{end}{{\"level\":\"WARN\",\"message\":\"{message}\",\"lost\":{lost}}}\n")
            }
        }
    }
}

/// Whether a part can be written without waiting for longer than `wait_ns`. What cannot be asked is
/// written to all the same: then the write says why.
fn takes(to: &impl AsFd, wait_ns: i64) -> bool {
    let wait = Timespec { tv_sec: 0, tv_nsec: wait_ns };
    poll(&mut [PollFd::new(to, PollFlags::OUT)], Some(&wait)).map_or(true, |ready| 0 < ready)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};

    use super::*;

    #[test]
    fn a_reader_who_hangs_costs_lines_and_is_told_how_many() {
        for (format, begin) in
            [(LogFormat::Text, " WARN"), (LogFormat::Json, "{\"level\":\"WARN\"")]
        {
            let (mut reader, mut writer) = pipe().expect("a pipe");
            let mut lines = Lines::NEW;
            let long = format!("{}\n", "x".repeat(PART_BYTES * 2));
            let mut put = 0_u64;
            while lines.lost < 5 {
                lines.put(&mut writer, format, long.as_bytes()).expect("nothing fails");
                put += 1;
            }
            let mut read = vec![0; 1 << 20];
            let count = reader.read(&mut read).expect("what was written");
            lines.put(&mut writer, format, b"again\n").expect("nothing fails");
            drop(writer);
            let mut rest = String::new();
            reader.read_to_string(&mut rest).expect("the rest");
            let all =
                String::from_utf8_lossy(read.get(..count).expect("so much")).into_owned() + &rest;
            let whole = all.lines().filter(|line| line.len() == PART_BYTES * 2).count() as u64;
            assert_eq!(whole, put - 5, "of {put}");
            let told = all.lines().rev().nth(1).expect("a line before the last one");
            assert!(told.starts_with(begin) && told.contains("lost"), "{told}");
            assert!(told.contains('5') && all.ends_with("\nagain\n"), "{told}");
        }
    }

    #[test]
    fn a_reader_who_went_away_is_an_error_and_no_wait() {
        let (reader, mut writer) = pipe().expect("a pipe");
        drop(reader);
        let mut lines = Lines::NEW;
        assert!(lines.put(&mut writer, LogFormat::Text, b"x\n").is_err());
        assert_eq!(lines.lost, 0);
    }
}
