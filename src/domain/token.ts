/** A token of the platform as it may stand in a header: one with a blank, a comma or a line break would end it there. */
export const TOKEN = /^[\x21-\x2b\x2d-\x7e]{1,500}$/;
