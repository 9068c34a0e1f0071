import { render } from 'preact';
import { App } from './app';
import { keepFocus } from './parts/focus';
import './style.css';

keepFocus();
render(<App />, document.getElementById('app')!);
