import { Page } from "./page";

const page = new Page(document, fetch.bind(window), location);
page.open();
void page.watchHealth();
