// Where the guided tour stands; -1: it does not run. Apart from the tour, so that its text is loaded when it begins.
import { signal } from '@preact/signals';

export const step = signal(-1);
