//! Pointers, templates and events, as anybody may write them, and JSON as any backend may send it.
//!
//! What is read is written as it can be read again, and means the same; what is found in a JSON text is found in the tree of it; and
//! no more comes of anything than there may be.
#![no_main]

use larder::invalidation::Event;
use larder::naming::{Bounds, Pointer, Template, extract};
use larder_fuzz::lines;
use libfuzzer_sys::fuzz_target;

const BOUNDS: Bounds = Bounds { count_max: 20, bytes_max: 64 };

fuzz_target!(|input: &[u8]| {
    if let Some(event) = Event::from_json(input) {
        assert_eq!(Event::from_json(&event.to_json()), Some(event));
    }
    let mut pointers: Vec<Pointer> = Vec::new();
    for line in lines(input) {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if let Ok(pointer) = text.parse::<Pointer>() {
            assert_eq!(pointer.to_string().parse(), Ok(pointer.clone()));
            pointers.push(pointer);
        }
        if let Ok(template) = text.parse::<Template>() {
            assert_eq!(template.to_string().parse(), Ok(template.clone()));
            render(&template, input);
            pointers.extend(template.pointers().cloned());
        }
    }
    pointers.truncate(4);
    let pointers: Vec<&Pointer> = pointers.iter().collect();
    if let Ok(found) = extract(input, &pointers, BOUNDS) {
        assert_eq!(found.len(), pointers.len());
        assert!(found.iter().flatten().count() <= BOUNDS.count_max);
        assert!(found.iter().flatten().all(|text| text.len() <= BOUNDS.bytes_max));
    }
});

fn render(template: &Template, input: &[u8]) {
    let values = |_: &_| vec![String::from_utf8_lossy(&input[..input.len().min(40)]).into_owned(); 3];
    if let Ok(texts) = template.render(values, BOUNDS) {
        assert!(texts.len() <= BOUNDS.count_max && texts.iter().all(|text| text.len() <= BOUNDS.bytes_max));
    }
}
