//! What is logged on this thread, which is that of one test.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, Once};

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

thread_local! {
    static OWN: RefCell<Option<Log>> = const { RefCell::new(None) };
}

struct Writer;

static BEGUN: Once = Once::new();

impl Log {
    /// From now on.
    pub fn begin() -> Self {
        // For all threads: which of them wants to hear of a line is asked only once.
        BEGUN.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Writer).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        let log = Self::default();
        OWN.set(Some(log.clone()));
        log
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Lines that have this in them.
    pub fn count(&self, part: &str) -> usize {
        self.text().lines().filter(|line| line.contains(part)).count()
    }
}

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        OWN.with_borrow(|own| own.as_ref().map_or(Ok(bytes.len()), |log| log.0.lock().unwrap().write(bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
