pub struct SessionSettings;
